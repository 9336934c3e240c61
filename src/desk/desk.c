#include "desk/desk.h"

const struct desk_connector *const desk_connectors[] = {
    &desk_intercom,
    &desk_webhook,
    NULL,
};

const struct desk_connector *desk_connector_find(struct str name)
{
    for (const struct desk_connector *const *each = desk_connectors; *each; each++)
        if (str_eq_c(name, (*each)->receiver.name))
            return *each;
    return NULL;
}

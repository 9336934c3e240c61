#include "platform/platform.h"

const struct platform *const platforms[] = {
    &platform_telegram,
    &platform_webhook,
    NULL,
};

const struct platform *platform_find(struct str name)
{
    for (const struct platform *const *each = platforms; *each; each++)
        if (str_eq_c(name, (*each)->name))
            return *each;
    return NULL;
}

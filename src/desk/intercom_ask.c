// What Intercom says of the token when a person asks: GET /me. Nothing is changed by it.
#include "desk/intercom.h"

static void end_failed(struct inquiry *inquiry, const struct http_response *last)
{
    struct verdict verdict = desk_intercom.receiver.probe_verdict(last, inquiry->now_us, inquiry->arena);
    struct str words = verdict.error.n ? verdict.error : STR("an answer that cannot be read");
    bool answered = last->failure == HTTP_ANSWERED;
    if (answered && last->status == 401)
        inquiry_end(inquiry, false, "Intercom does not take the token (%.*s).", STR_ARG(words));
    else if (answered && last->status == 403)
        inquiry_end(inquiry, false, "Intercom takes the token, but not for this (%.*s).", STR_ARG(words));
    else if (answered)
        inquiry_end(inquiry, false, "Intercom answers with %.*s.", STR_ARG(words));
    else
        inquiry_end(inquiry, false, "Intercom cannot be reached: %.*s.", STR_ARG(words));
}

static void read_me(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last, yyjson_val *me)
{
    yyjson_val *app = yyjson_obj_get(me, "app");
    struct str id = json_get_str(app, "id_code"), name = json_get_str(app, "name");
    int64_t remaining, reset_us;
    inquiry_text(inquiry, "workspace", name.n ? name : STR_NONE);
    inquiry_text(inquiry, "app_id", id.n ? id : STR_NONE);
    inquiry_text(inquiry, "region", json_get_str(app, "region"));
    inquiry_text(inquiry, "timezone", json_get_str(app, "timezone"));
    inquiry_text(inquiry, "admin_id", intercom_id(yyjson_obj_get(me, "id"), inquiry->arena));
    inquiry_bool(inquiry, "notifications", desk->client_secret.n > 0);
    if (desk_intercom.receiver.rate(last, &remaining, &reset_us))
        inquiry_number(inquiry, "requests_left", remaining);
    const char *silent = desk->client_secret.n ? ""
                                               : "; without client_secret its notifications are refused, and agents' "
                                                 "replies are found minutes later";
    if (id.n)
        inquiry_end(inquiry, true, "Intercom takes the token; it is of workspace %.*s%s%.*s%s%s.",
                    STR_ARG(name.n ? name : id), name.n ? " (" : "", STR_ARG(name.n ? id : STR("")), name.n ? ")" : "",
                    silent);
    else
        inquiry_end(inquiry, true, "Intercom takes the token, and names no workspace%s.", silent);
}

bool intercom_ask(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last,
                  struct http_request *out_request)
{
    if (!last) {
        intercom_ask_me(desk, inquiry->arena, out_request);
        return true;
    }
    bool good = last->failure == HTTP_ANSWERED && last->status >= 200 && last->status < 300;
    yyjson_doc *doc = good ? json_read(last->body) : NULL;
    yyjson_val *me = yyjson_doc_get_root(doc);
    if (yyjson_is_obj(me))
        read_me(desk, inquiry, last, me);
    else
        end_failed(inquiry, last);
    yyjson_doc_free(doc);
    return false;
}

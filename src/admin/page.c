// The status page: the files of web/, which are part of the program. They hold no data; that comes from the API, with the token.
#include "admin/api.h"
#include "base/web_file.h"

static const struct http_header headers[] = {
    {STR("X-Content-Type-Options"), STR("nosniff")},
    {STR("Cache-Control"), STR("no-cache")},
    {STR("Referrer-Policy"), STR("no-referrer")},
    {STR("Cross-Origin-Resource-Policy"), STR("same-origin")},
    {STR("X-Frame-Options"), STR("DENY")},
    {STR("Content-Security-Policy"),
     STR("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")},
};

static const struct web_file *find(struct str name)
{
    for (size_t i = 0; i < web_files_count; i++)
        if (str_eq_c(name, web_files[i].path))
            return &web_files[i];
    return NULL;
}

bool api_page_get(struct api_call *call)
{
    const struct http_request *request = call->request;
    struct str name = str_sub(request->path, 1, request->path.n);
    const struct web_file *file = find(name.n ? name : STR("index.html"));
    if (!file)
        return false;
    if (!str_eq_c(request->method, "GET") && !str_eq_c(request->method, "HEAD"))
        api_problem(call, 405, "This path is for reading.");
    else
        http_exchange_answer(call->exchange, 200, str_of(file->mime), headers, sizeof headers / sizeof *headers,
                             (struct str){(const char *)file->data, file->size});
    return true;
}

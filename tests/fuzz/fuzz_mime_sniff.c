// Whatever a file begins with, it has one of the types that are known, or none; more of it than is looked at changes nothing.
#include <stdint.h>
#include <stdlib.h>

#include "base/must.h"
#include "model/attachment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size}, mime = mime_sniff(bytes);
    must(!mime.p || (mime.n && str_index(mime, '/', 0) < mime.n));
    must(str_eq(mime, mime_sniff(str_sub(bytes, 0, MIME_SNIFF_SIZE))));
    return 0;
}

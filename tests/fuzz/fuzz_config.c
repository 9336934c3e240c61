// The configuration from any bytes: it is read or refused with a reason, and a text that is read twice says the same.
#include "app/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[100];

static void remove_file(void)
{
    unlink(path);
}

static int open_file(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.60s/tributary-fuzz-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0 || atexit(remove_file))
        abort();
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct config *config = NULL;
    struct arena arena = {0};
    struct str socket;
    struct buf errors;
    if (fd < 0)
        fd = open_file();
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    setenv("NAME", "value", 1);
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load(path, &config, &errors);
    if ((err != 0) != (errors.n > 0))
        abort();
    if (!err) {
        for (size_t i = 0; i < config->account_count; i++) {
            struct account *account = config_account(config, i);
            if (!account_name_is_valid(account->name) || !account->source_count)
                abort();
            account_unref(account);
        }
        config_free(config);
    }
    buf_clear(&errors);
    err = config_load_socket(path, &arena, &socket, &errors);
    if ((err != 0) != (errors.n > 0))
        abort();
    arena_done(&arena);
    buf_done(&errors);
    return 0;
}

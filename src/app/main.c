// tributary: daemon and command line in one.
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("tributary %s\n", TRIBUTARY_VERSION);
        return 0;
    }
    fprintf(stderr, "usage: tributary --version\n");
    return 2;
}

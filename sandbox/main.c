// tributary-sandbox: stand-ins for the platforms and the desk, for trying out and for tests.
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("tributary-sandbox %s (stand-ins for trying out and for tests)\n", TRIBUTARY_VERSION);
        return 0;
    }
    fprintf(stderr, "usage: tributary-sandbox --version\n");
    return 2;
}

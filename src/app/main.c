// tributary: daemon and command line in one.
#include "app/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}

/*
 * main.c: graspd. Everything it does is in libgrasp_server, so that a program that embeds the
 * control plane does the same.
 */
#include "server.h"

int main(int argc, char **argv)
{
    return srv_main(argc, argv);
}

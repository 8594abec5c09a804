/*
 * test_server_store.c: files of the state directory: whole or not there, and nothing of a crash stays.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store.h"

static char directory[64];

static int make_directory(void **state)
{
    strcpy(directory, "/tmp/grasp-store-XXXXXX");
    return mkdtemp(directory) == NULL;
}

static void path_of(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", directory, name);
}

static int remove_directory(void **state)
{
    return rmdir(directory); /* each case has left nothing */
}

static bool is_there(const char *name)
{
    char path[256];
    path_of(path, name);
    return access(path, F_OK) == 0;
}

static void make(const char *name)
{
    char path[256];
    path_of(path, name);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* The number of a process that has ended. */
static pid_t gone(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
}

static void what_a_crash_left_is_removed_and_nothing_else(void **state)
{
    static const char *const others[] = {"snapshot-1",    ".writing-",  ".writing-x-1",
                                         ".writing-01-1", ".writing-1", "token"};
    char dead[64], own[64], alive[64], longer[64];
    pid_t pid = gone();
    snprintf(dead, sizeof dead, ".writing-%d-7", (int)pid);
    snprintf(longer, sizeof longer, ".writing-%d-7x", (int)pid);
    snprintf(own, sizeof own, ".writing-%d-0", (int)getpid());
    snprintf(alive, sizeof alive, ".writing-%d-0", (int)getppid());
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        make(others[i]);
    make(dead);
    make(longer);
    make(own);
    make(alive);
    srv_store_clean(directory);
    assert_false(is_there(dead));
    assert_false(is_there(own));
    assert_true(is_there(alive));
    assert_true(is_there(longer));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_true(is_there(others[i]));
        srv_store_remove(directory, others[i]);
    }
    srv_store_remove(directory, alive);
    srv_store_remove(directory, longer);
    srv_store_clean("/nonexistent");
}

static void a_file_is_there_whole_once_it_is_closed(void **state)
{
    struct api_store_file *file;
    char text[16] = "";
    struct stat st;
    char path[256];
    assert_int_equal(srv_store_create(directory, &file), 0);
    assert_int_equal(srv_store_write(file, "abc", 3), 0);
    assert_false(is_there("x"));
    assert_int_equal(srv_store_close(file, "x"), 0);
    assert_int_equal(srv_store_read(directory, "x", 1, text, sizeof text), 2);
    assert_string_equal(text, "bc");
    path_of(path, "x");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(srv_store_remove(directory, "x"), 0);
}

static void one_that_does_not_fit_is_not_there_at_all(void **state)
{
    struct api_store_file *file;
    struct rlimit all, some;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    some = (struct rlimit){.rlim_cur = 100, .rlim_max = all.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(srv_store_create(directory, &file), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
    char bytes[200] = "";
    int err = srv_store_write(file, bytes, sizeof bytes);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    assert_int_equal(err, -EFBIG);
    assert_int_equal(srv_store_close(file, NULL), 0); /* and the directory can be removed */
}

/* The last case: nothing can be written afterwards. */
static void what_the_end_of_the_process_interrupts_is_not_left_behind(void **state)
{
    struct api_store_file *file, *late;
    char own[64];
    DIR *entries;
    assert_int_equal(srv_store_create(directory, &file), 0);
    assert_int_equal(srv_store_write(file, "abc", 3), 0);
    srv_store_end(directory);
    assert_int_equal(srv_store_create(directory, &late), -ESHUTDOWN);
    assert_int_equal(srv_store_write(file, "def", 3), 0); /* who still writes does no harm */
    assert_int_equal(srv_store_close(file, "x"), -ENOENT);
    snprintf(own, sizeof own, ".writing-%d-", (int)getpid());
    assert_non_null(entries = opendir(directory));
    for (struct dirent *entry; (entry = readdir(entries));)
        assert_null(strstr(entry->d_name, own));
    closedir(entries);
    assert_false(is_there("x"));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_a_crash_left_is_removed_and_nothing_else),
        CASE(a_file_is_there_whole_once_it_is_closed),
        CASE(one_that_does_not_fit_is_not_there_at_all),
        CASE(what_the_end_of_the_process_interrupts_is_not_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

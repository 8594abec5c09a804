/*
 * wrap_names.c: hosts, services, users, groups: whatever libc looks up through its name services.
 *
 * A look-up may ask a server and runs code of libraries that libc loads itself; all of it happens
 * on the goroutine's thread within one system call of the goroutine. The results of the forms
 * without _r are libc's, overwritten by the next look-up of anyone in the process, as in every
 * threaded program.
 *
 * Invariants: wrap.h. No locks, no state.
 */
#include "wrap.h"

#include <aliases.h>
#include <grp.h>
#include <gshadow.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/ether.h>
#include <netinet/in.h>
#include <arpa/nameser.h>
#include <pwd.h>
#include <resolv.h>
#include <rpc/netdb.h>
#include <shadow.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utmp.h>
#include <utmpx.h>

extern _Noreturn void __chk_fail(void);

GRI_WRAP_SIMPLE(int, getaddrinfo,
                (const char *node, const char *service, const struct addrinfo *hints,
                 struct addrinfo **out),
                (node, service, hints, out))
GRI_WRAP_SIMPLE(int, getnameinfo,
                (const struct sockaddr *sa, socklen_t n, char *host, socklen_t hn, char *service,
                 socklen_t sn, int flags),
                (sa, n, host, hn, service, sn, flags))
GRI_WRAP_SIMPLE(struct hostent *, gethostbyname, (const char *name), (name))
GRI_WRAP_SIMPLE(struct hostent *, gethostbyname2, (const char *name, int family), (name, family))
GRI_WRAP_SIMPLE(struct hostent *, gethostbyaddr, (const void *at, socklen_t n, int type),
                (at, n, type))
GRI_WRAP_SIMPLE(struct hostent *, gethostent, (void), ())
GRI_WRAP_SIMPLE(int, gethostbyname_r,
                (const char *name, struct hostent *h, char *buf, size_t n, struct hostent **out,
                 int *error),
                (name, h, buf, n, out, error))
GRI_WRAP_SIMPLE(int, gethostbyname2_r,
                (const char *name, int family, struct hostent *h, char *buf, size_t n,
                 struct hostent **out, int *error),
                (name, family, h, buf, n, out, error))
GRI_WRAP_SIMPLE(int, gethostbyaddr_r,
                (const void *at, socklen_t an, int type, struct hostent *h, char *buf, size_t n,
                 struct hostent **out, int *error),
                (at, an, type, h, buf, n, out, error))
GRI_WRAP_SIMPLE(int, gethostent_r,
                (struct hostent * h, char *buf, size_t n, struct hostent **out, int *error),
                (h, buf, n, out, error))
GRI_WRAP_SIMPLE(struct netent *, getnetbyname, (const char *name), (name))
GRI_WRAP_SIMPLE(struct netent *, getnetbyaddr, (uint32_t net, int type), (net, type))
GRI_WRAP_SIMPLE(struct netent *, getnetent, (void), ())
GRI_WRAP_SIMPLE(int, getnetbyname_r,
                (const char *name, struct netent *e, char *buf, size_t n, struct netent **out,
                 int *error),
                (name, e, buf, n, out, error))
GRI_WRAP_SIMPLE(int, getnetbyaddr_r,
                (uint32_t net, int type, struct netent *e, char *buf, size_t n, struct netent **out,
                 int *error),
                (net, type, e, buf, n, out, error))
GRI_WRAP_SIMPLE(int, getnetent_r,
                (struct netent * e, char *buf, size_t n, struct netent **out, int *error),
                (e, buf, n, out, error))
GRI_WRAP_SIMPLE(struct servent *, getservbyname, (const char *name, const char *proto),
                (name, proto))
GRI_WRAP_SIMPLE(struct servent *, getservbyport, (int port, const char *proto), (port, proto))
GRI_WRAP_SIMPLE(struct servent *, getservent, (void), ())
GRI_WRAP_SIMPLE(int, getservbyname_r,
                (const char *name, const char *proto, struct servent *e, char *buf, size_t n,
                 struct servent **out),
                (name, proto, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getservbyport_r,
                (int port, const char *proto, struct servent *e, char *buf, size_t n,
                 struct servent **out),
                (port, proto, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getservent_r, (struct servent * e, char *buf, size_t n, struct servent **out),
                (e, buf, n, out))
GRI_WRAP_SIMPLE(struct protoent *, getprotobyname, (const char *name), (name))
GRI_WRAP_SIMPLE(struct protoent *, getprotobynumber, (int number), (number))
GRI_WRAP_SIMPLE(struct protoent *, getprotoent, (void), ())
GRI_WRAP_SIMPLE(int, getprotobyname_r,
                (const char *name, struct protoent *e, char *buf, size_t n, struct protoent **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getprotobynumber_r,
                (int number, struct protoent *e, char *buf, size_t n, struct protoent **out),
                (number, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getprotoent_r,
                (struct protoent * e, char *buf, size_t n, struct protoent **out), (e, buf, n, out))
GRI_WRAP_SIMPLE(struct rpcent *, getrpcbyname, (const char *name), (name))
GRI_WRAP_SIMPLE(struct rpcent *, getrpcbynumber, (int number), (number))
GRI_WRAP_SIMPLE(struct rpcent *, getrpcent, (void), ())
GRI_WRAP_SIMPLE(int, getrpcbyname_r,
                (const char *name, struct rpcent *e, char *buf, size_t n, struct rpcent **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getrpcbynumber_r,
                (int number, struct rpcent *e, char *buf, size_t n, struct rpcent **out),
                (number, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getrpcent_r, (struct rpcent * e, char *buf, size_t n, struct rpcent **out),
                (e, buf, n, out))
GRI_WRAP_SIMPLE(struct passwd *, getpwnam, (const char *name), (name))
GRI_WRAP_SIMPLE(struct passwd *, getpwuid, (uid_t uid), (uid))
GRI_WRAP_SIMPLE(struct passwd *, getpwent, (void), ())
GRI_WRAP_SIMPLE(int, getpwnam_r,
                (const char *name, struct passwd *e, char *buf, size_t n, struct passwd **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getpwuid_r,
                (uid_t uid, struct passwd *e, char *buf, size_t n, struct passwd **out),
                (uid, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getpwent_r, (struct passwd * e, char *buf, size_t n, struct passwd **out),
                (e, buf, n, out))
GRI_WRAP_SIMPLE(struct passwd *, fgetpwent, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, fgetpwent_r,
                (FILE * f, struct passwd *e, char *buf, size_t n, struct passwd **out),
                (f, e, buf, n, out))
GRI_WRAP_SIMPLE(int, putpwent, (const struct passwd *e, FILE *f), (e, f))
GRI_WRAP_SIMPLE(struct group *, getgrnam, (const char *name), (name))
GRI_WRAP_SIMPLE(struct group *, getgrgid, (gid_t gid), (gid))
GRI_WRAP_SIMPLE(struct group *, getgrent, (void), ())
GRI_WRAP_SIMPLE(int, getgrnam_r,
                (const char *name, struct group *e, char *buf, size_t n, struct group **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getgrgid_r,
                (gid_t gid, struct group *e, char *buf, size_t n, struct group **out),
                (gid, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getgrent_r, (struct group * e, char *buf, size_t n, struct group **out),
                (e, buf, n, out))
GRI_WRAP_SIMPLE(struct group *, fgetgrent, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, fgetgrent_r,
                (FILE * f, struct group *e, char *buf, size_t n, struct group **out),
                (f, e, buf, n, out))
GRI_WRAP_SIMPLE(int, putgrent, (const struct group *e, FILE *f), (e, f))
GRI_WRAP_SIMPLE(int, getgrouplist, (const char *user, gid_t gid, gid_t *groups, int *n),
                (user, gid, groups, n))
GRI_WRAP_SIMPLE(int, initgroups, (const char *user, gid_t gid), (user, gid))
GRI_WRAP_SIMPLE(struct spwd *, getspnam, (const char *name), (name))
GRI_WRAP_SIMPLE(struct spwd *, getspent, (void), ())
GRI_WRAP_SIMPLE(int, getspnam_r,
                (const char *name, struct spwd *e, char *buf, size_t n, struct spwd **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getspent_r, (struct spwd * e, char *buf, size_t n, struct spwd **out),
                (e, buf, n, out))
GRI_WRAP_SIMPLE(struct spwd *, fgetspent, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, fgetspent_r,
                (FILE * f, struct spwd *e, char *buf, size_t n, struct spwd **out),
                (f, e, buf, n, out))
GRI_WRAP_SIMPLE(int, putspent, (const struct spwd *e, FILE *f), (e, f))
GRI_WRAP_SIMPLE(struct sgrp *, getsgnam, (const char *name), (name))
GRI_WRAP_SIMPLE(struct sgrp *, getsgent, (void), ())
GRI_WRAP_SIMPLE(int, getsgnam_r,
                (const char *name, struct sgrp *e, char *buf, size_t n, struct sgrp **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getsgent_r, (struct sgrp * e, char *buf, size_t n, struct sgrp **out),
                (e, buf, n, out))
GRI_WRAP_SIMPLE(struct sgrp *, fgetsgent, (FILE * f), (f))
GRI_WRAP_SIMPLE(int, fgetsgent_r,
                (FILE * f, struct sgrp *e, char *buf, size_t n, struct sgrp **out),
                (f, e, buf, n, out))
GRI_WRAP_SIMPLE(int, putsgent, (const struct sgrp *e, FILE *f), (e, f))
GRI_WRAP_SIMPLE(struct aliasent *, getaliasbyname, (const char *name), (name))
GRI_WRAP_SIMPLE(struct aliasent *, getaliasent, (void), ())
GRI_WRAP_SIMPLE(int, getaliasbyname_r,
                (const char *name, struct aliasent *e, char *buf, size_t n, struct aliasent **out),
                (name, e, buf, n, out))
GRI_WRAP_SIMPLE(int, getaliasent_r,
                (struct aliasent * e, char *buf, size_t n, struct aliasent **out), (e, buf, n, out))
GRI_WRAP_SIMPLE(int, setnetgrent, (const char *group), (group))
GRI_WRAP_SIMPLE(int, getnetgrent, (char **host, char **user, char **domain), (host, user, domain))
GRI_WRAP_SIMPLE(int, getnetgrent_r, (char **host, char **user, char **domain, char *buf, size_t n),
                (host, user, domain, buf, n))
GRI_WRAP_SIMPLE(int, innetgr,
                (const char *group, const char *host, const char *user, const char *domain),
                (group, host, user, domain))
GRI_WRAP_SIMPLE(int, ether_hostton, (const char *name, struct ether_addr *at), (name, at))
GRI_WRAP_SIMPLE(int, ether_ntohost, (char *name, const struct ether_addr *at), (name, at))
GRI_WRAP_SIMPLE(int, res_query,
                (const char *name, int class, int type, unsigned char *answer, int n),
                (name, class, type, answer, n))
GRI_WRAP_SIMPLE(int, res_search,
                (const char *name, int class, int type, unsigned char *answer, int n),
                (name, class, type, answer, n))
GRI_WRAP_SIMPLE(int, res_querydomain,
                (const char *name, const char *domain, int class, int type, unsigned char *answer,
                 int n),
                (name, domain, class, type, answer, n))
GRI_WRAP_SIMPLE(int, res_send, (const unsigned char *message, int m, unsigned char *answer, int n),
                (message, m, answer, n))
GRI_WRAP_SIMPLE(int, res_nquery,
                (res_state state, const char *name, int class, int type, unsigned char *answer,
                 int n),
                (state, name, class, type, answer, n))
GRI_WRAP_SIMPLE(int, res_nsearch,
                (res_state state, const char *name, int class, int type, unsigned char *answer,
                 int n),
                (state, name, class, type, answer, n))
GRI_WRAP_SIMPLE(int, res_nquerydomain,
                (res_state state, const char *name, const char *domain, int class, int type,
                 unsigned char *answer, int n),
                (state, name, domain, class, type, answer, n))
GRI_WRAP_SIMPLE(int, res_nsend,
                (res_state state, const unsigned char *message, int m, unsigned char *answer,
                 int n),
                (state, message, m, answer, n))
GRI_WRAP_SIMPLE(int, getifaddrs, (struct ifaddrs * *list), (list))
GRI_WRAP_SIMPLE(struct if_nameindex *, if_nameindex, (void), ())
GRI_WRAP_SIMPLE(unsigned, if_nametoindex, (const char *name), (name))
GRI_WRAP_SIMPLE(char *, if_indextoname, (unsigned index, char *name), (index, name))
GRI_WRAP_SIMPLE(long, gethostid, (void), ())
GRI_WRAP_SIMPLE(int, sethostid, (long id), (id))
GRI_WRAP_SIMPLE(char *, getlogin, (void), ())
GRI_WRAP_SIMPLE(int, getlogin_r, (char *name, size_t n), (name, n))
GRI_WRAP_SIMPLE(int, login_tty, (int fd), (fd))
GRI_WRAP_SIMPLE(struct utmp *, getutent, (void), ())
GRI_WRAP_SIMPLE(struct utmp *, getutid, (const struct utmp *id), (id))
GRI_WRAP_SIMPLE(struct utmp *, getutline, (const struct utmp *line), (line))
GRI_WRAP_SIMPLE(struct utmp *, pututline, (const struct utmp *line), (line))
GRI_WRAP_SIMPLE(int, getutent_r, (struct utmp * buf, struct utmp **out), (buf, out))
GRI_WRAP_SIMPLE(int, getutid_r, (const struct utmp *id, struct utmp *buf, struct utmp **out),
                (id, buf, out))
GRI_WRAP_SIMPLE(int, getutline_r, (const struct utmp *line, struct utmp *buf, struct utmp **out),
                (line, buf, out))
GRI_WRAP_SIMPLE(struct utmpx *, getutxent, (void), ())
GRI_WRAP_SIMPLE(struct utmpx *, getutxid, (const struct utmpx *id), (id))
GRI_WRAP_SIMPLE(struct utmpx *, getutxline, (const struct utmpx *line), (line))
GRI_WRAP_SIMPLE(struct utmpx *, pututxline, (const struct utmpx *line), (line))
GRI_WRAP_SIMPLE(int, logout, (const char *line), (line))

/* The same for functions without a result. */
#define SIMPLE_VOID(name, params, args)                                                            \
    static void wrap_##name params                                                                 \
    {                                                                                              \
        struct gr_g *g = gri_wrap_enter();                                                         \
                                                                                                   \
        GRI_WRAP_ENTER_BLOCK(g);                                                                   \
        name args;                                                                                 \
        if (g)                                                                                     \
            gri_wrap_leave(g);                                                                     \
    }
SIMPLE_VOID(login, (const struct utmp *entry), (entry))
SIMPLE_VOID(logwtmp, (const char *line, const char *name, const char *host), (line, name, host))
SIMPLE_VOID(updwtmp, (const char *path, const struct utmp *entry), (path, entry))
SIMPLE_VOID(updwtmpx, (const char *path, const struct utmpx *entry), (path, entry))
SIMPLE_VOID(setpwent, (void), ())
SIMPLE_VOID(endpwent, (void), ())
SIMPLE_VOID(setgrent, (void), ())
SIMPLE_VOID(endgrent, (void), ())
SIMPLE_VOID(setspent, (void), ())
SIMPLE_VOID(endspent, (void), ())
SIMPLE_VOID(sethostent, (int stay), (stay))
SIMPLE_VOID(endhostent, (void), ())
SIMPLE_VOID(setutent, (void), ())
SIMPLE_VOID(endutent, (void), ())
SIMPLE_VOID(setutxent, (void), ())
SIMPLE_VOID(endutxent, (void), ())

static int wrap___getlogin_r_chk(char *name, size_t n, size_t room)
{
    if (n > room)
        __chk_fail();
    return wrap_getlogin_r(name, n);
}

const struct gri_wrap gri_wraps_names[] = {
    GRI_WRAP(getaddrinfo),
    GRI_WRAP(getnameinfo),
    GRI_WRAP(gethostbyname),
    GRI_WRAP(gethostbyname2),
    GRI_WRAP(gethostbyaddr),
    GRI_WRAP(gethostent),
    GRI_WRAP(gethostbyname_r),
    GRI_WRAP(gethostbyname2_r),
    GRI_WRAP(gethostbyaddr_r),
    GRI_WRAP(gethostent_r),
    GRI_WRAP(getnetbyname),
    GRI_WRAP(getnetbyaddr),
    GRI_WRAP(getnetent),
    GRI_WRAP(getnetbyname_r),
    GRI_WRAP(getnetbyaddr_r),
    GRI_WRAP(getnetent_r),
    GRI_WRAP(getservbyname),
    GRI_WRAP(getservbyport),
    GRI_WRAP(getservent),
    GRI_WRAP(getservbyname_r),
    GRI_WRAP(getservbyport_r),
    GRI_WRAP(getservent_r),
    GRI_WRAP(getprotobyname),
    GRI_WRAP(getprotobynumber),
    GRI_WRAP(getprotoent),
    GRI_WRAP(getprotobyname_r),
    GRI_WRAP(getprotobynumber_r),
    GRI_WRAP(getprotoent_r),
    GRI_WRAP(getrpcbyname),
    GRI_WRAP(getrpcbynumber),
    GRI_WRAP(getrpcent),
    GRI_WRAP(getrpcbyname_r),
    GRI_WRAP(getrpcbynumber_r),
    GRI_WRAP(getrpcent_r),
    GRI_WRAP(getpwnam),
    GRI_WRAP(getpwuid),
    GRI_WRAP(getpwent),
    GRI_WRAP(getpwnam_r),
    GRI_WRAP(getpwuid_r),
    GRI_WRAP(getpwent_r),
    GRI_WRAP(fgetpwent),
    GRI_WRAP(fgetpwent_r),
    GRI_WRAP(putpwent),
    GRI_WRAP(getgrnam),
    GRI_WRAP(getgrgid),
    GRI_WRAP(getgrent),
    GRI_WRAP(getgrnam_r),
    GRI_WRAP(getgrgid_r),
    GRI_WRAP(getgrent_r),
    GRI_WRAP(fgetgrent),
    GRI_WRAP(fgetgrent_r),
    GRI_WRAP(putgrent),
    GRI_WRAP(getgrouplist),
    GRI_WRAP(initgroups),
    GRI_WRAP(getspnam),
    GRI_WRAP(getspent),
    GRI_WRAP(getspnam_r),
    GRI_WRAP(getspent_r),
    GRI_WRAP(fgetspent),
    GRI_WRAP(fgetspent_r),
    GRI_WRAP(putspent),
    GRI_WRAP(getsgnam),
    GRI_WRAP(getsgent),
    GRI_WRAP(getsgnam_r),
    GRI_WRAP(getsgent_r),
    GRI_WRAP(fgetsgent),
    GRI_WRAP(fgetsgent_r),
    GRI_WRAP(putsgent),
    GRI_WRAP(getaliasbyname),
    GRI_WRAP(getaliasent),
    GRI_WRAP(getaliasbyname_r),
    GRI_WRAP(getaliasent_r),
    GRI_WRAP(setnetgrent),
    GRI_WRAP(getnetgrent),
    GRI_WRAP(getnetgrent_r),
    GRI_WRAP(innetgr),
    GRI_WRAP(ether_hostton),
    GRI_WRAP(ether_ntohost),
    GRI_WRAP(res_query),
    GRI_WRAP(res_search),
    GRI_WRAP(res_querydomain),
    GRI_WRAP(res_send),
    GRI_WRAP(res_nquery),
    GRI_WRAP(res_nsearch),
    GRI_WRAP(res_nquerydomain),
    GRI_WRAP(res_nsend),
    GRI_WRAP(getifaddrs),
    GRI_WRAP(if_nameindex),
    GRI_WRAP(if_nametoindex),
    GRI_WRAP(if_indextoname),
    GRI_WRAP(gethostid),
    GRI_WRAP(sethostid),
    GRI_WRAP(getlogin),
    GRI_WRAP(getlogin_r),
    GRI_WRAP(login_tty),
    GRI_WRAP(getutent),
    GRI_WRAP(getutid),
    GRI_WRAP(getutline),
    GRI_WRAP(pututline),
    GRI_WRAP(getutent_r),
    GRI_WRAP(getutid_r),
    GRI_WRAP(getutline_r),
    GRI_WRAP(getutxent),
    GRI_WRAP(getutxid),
    GRI_WRAP(getutxline),
    GRI_WRAP(pututxline),
    GRI_WRAP(logout),
    GRI_WRAP(login),
    GRI_WRAP(logwtmp),
    GRI_WRAP(updwtmp),
    GRI_WRAP(updwtmpx),
    GRI_WRAP(setpwent),
    GRI_WRAP(endpwent),
    GRI_WRAP(setgrent),
    GRI_WRAP(endgrent),
    GRI_WRAP(setspent),
    GRI_WRAP(endspent),
    GRI_WRAP(sethostent),
    GRI_WRAP(endhostent),
    GRI_WRAP(setutent),
    GRI_WRAP(endutent),
    GRI_WRAP(setutxent),
    GRI_WRAP(endutxent),
    GRI_WRAP(__getlogin_r_chk),
    {NULL, NULL},
};

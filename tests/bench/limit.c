/* What libldap itself gets out of the directory: the rate that no login can exceed.
 *
 *   limit search|bind -H URI -D DN -W PASSWORD -b BASE [-c IN_FLIGHT] [-s SECONDS] [-u PEOPLE] [-d DOMAIN]
 *
 * search   IN_FLIGHT searches at a time for userPassword by mail, on one connection.
 * bind     binds as uid=uN,BASE with the password uN-pass, one at a time on each of IN_FLIGHT connections.
 * The result is one line of JSON on standard output: operations that succeeded within SECONDS, those that did not.
 */
#define _GNU_SOURCE
#include <ldap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *uri, *dn, *password, *base, *domain = "hoge.cxm";
static int in_flight = 16, people = 1;
static double seconds = 2.0;
static long next_person, done, failed;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void check(int code, const char *what)
{
    if (code != LDAP_SUCCESS) {
        fprintf(stderr, "%s: %s\n", what, ldap_err2string(code));
        exit(1);
    }
}

static LDAP *connected(void)
{
    LDAP *ldap;
    int version = LDAP_VERSION3;
    check(ldap_initialize(&ldap, uri), uri);
    ldap_set_option(ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
    return ldap;
}

static void ask_search(LDAP *ldap)
{
    char filter[128];
    char *attributes[] = { "userPassword", NULL };
    int id;
    snprintf(filter, sizeof filter, "(&(objectclass=mailRecipient)(mail=u%ld@%s))", next_person++ % people, domain);
    check(ldap_search_ext(ldap, base, LDAP_SCOPE_SUBTREE, filter, attributes, 0, NULL, NULL, NULL, 1, &id), "search");
}

static void ask_bind(LDAP *ldap)
{
    char who[256], secret[64];
    long person = next_person++ % people;
    int id;
    snprintf(who, sizeof who, "uid=u%ld,%s", person, base);
    struct berval credentials = { .bv_len = snprintf(secret, sizeof secret, "u%ld-pass", person), .bv_val = secret };
    check(ldap_sasl_bind(ldap, who, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, &id), "bind");
}

/* Take one answer if it is here; true if an operation has ended. */
static int take(LDAP *ldap, struct timeval *wait)
{
    LDAPMessage *message;
    int kind = ldap_result(ldap, LDAP_RES_ANY, LDAP_MSG_ONE, wait, &message), code;
    if (kind == 0)
        return 0;
    if (kind < 0)
        check(LDAP_SERVER_DOWN, "result");
    if (kind == LDAP_RES_SEARCH_ENTRY) {
        struct berval **values = ldap_get_values_len(ldap, ldap_first_entry(ldap, message), "userPassword");
        failed += values == NULL;
        ldap_value_free_len(values);
        ldap_msgfree(message);
        return 0;
    }
    check(ldap_parse_result(ldap, message, &code, NULL, NULL, NULL, NULL, 1), "parse");
    *(code == LDAP_SUCCESS ? &done : &failed) += 1;
    return 1;
}

static void search(double end)
{
    LDAP *ldap = connected();
    struct berval credentials = { .bv_len = strlen(password), .bv_val = (char *)password };
    check(ldap_sasl_bind_s(ldap, dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, NULL), dn);
    for (int i = 0; i < in_flight; i++)
        ask_search(ldap);
    while (now() < end) {
        struct timeval wait = { .tv_usec = 100000 };
        if (take(ldap, &wait))
            ask_search(ldap);
    }
}

static void bind_all(double end)
{
    LDAP **ldap = calloc(in_flight, sizeof *ldap);
    struct pollfd *sockets = calloc(in_flight, sizeof *sockets);
    if (!ldap || !sockets)
        exit(1);
    for (int i = 0; i < in_flight; i++) {
        ldap[i] = connected();
        ask_bind(ldap[i]);
        ldap_get_option(ldap[i], LDAP_OPT_DESC, &sockets[i].fd);
        sockets[i].events = POLLIN;
    }
    while (now() < end) {
        poll(sockets, in_flight, 100);
        for (int i = 0; i < in_flight; i++) {
            struct timeval none = { 0 };
            if (sockets[i].revents && take(ldap[i], &none))
                ask_bind(ldap[i]);
        }
    }
}

int main(int argc, char **argv)
{
    int option, binding = argc > 1 && !strcmp(argv[1], "bind");
    optind = 2;
    while (argc > 2 && (option = getopt(argc, argv, "H:D:W:b:c:s:u:d:")) != -1)
        switch (option) {
        case 'H': uri = optarg; break;
        case 'D': dn = optarg; break;
        case 'W': password = optarg; break;
        case 'b': base = optarg; break;
        case 'c': in_flight = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'u': people = atoi(optarg); break;
        case 'd': domain = optarg; break;
        default: return 2;
        }
    if (!uri || !dn || !password || !base || in_flight < 1 || people < 1)
        return fprintf(stderr, "usage: see the head of limit.c\n"), 2;
    double start = now();
    (binding ? bind_all : search)(start + seconds);
    printf("{\"done\": %ld, \"failed\": %ld, \"seconds\": %.6f}\n", done, failed, now() - start);
    return 0;
}

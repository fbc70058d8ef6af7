/* Logins against a mux socket or a Dovecot auth socket, as fast as they are answered.
 *
 *   load mux|dovecot -f SOCKET [-c IN_FLIGHT] [-s SECONDS | -n LOGINS] [-u PEOPLE] [-d DOMAIN] [-w PERCENT] [-r SEED]
 *                    [-g GRACE]
 *   load hold -f SOCKET -c CONNECTIONS
 *
 * The people are u0, u1, ... of DOMAIN, in turn, or in random order with -r; the password of uN is uN-pass, and for
 * PERCENT of the logins a wrong one.
 *   mux      one connection per login, as libsasl2 does it: connect, one write, read the reply, close.
 *   dovecot  IN_FLIGHT connections, each kept open with one login at a time, as Postfix does it.
 * The result is one line of JSON on standard output. Rate and latencies are those of the answers within SECONDS;
 * what was sent by then is still waited for, GRACE seconds (6), and its answer checked.
 *
 *   hold     keeps CONNECTIONS mux connections open, every second one with half a request sent, and opens anew what
 *            the server closes. Prints "held" when each has been tried once; ends when its standard input ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, ROOM = 2048 };
static const double RETRY = 0.001;

enum state { FREE, CONNECTING, HANDSHAKE, WAITING };

struct client {
    int fd;
    enum state state;
    int wrong;
    unsigned id;
    double began;
    size_t have;
    char in[ROOM];
};

static struct sockaddr_un address = { .sun_family = AF_UNIX };
static const char *domain = "hoge.cxm";
static long people = 1, limit;
static int in_flight = 16, percent, shuffled, dovecot, poller;
static double seconds = 2.0, grace = 6.0, deadline;
static uint64_t seed = 0x9e3779b97f4a7c15u;

static struct client *clients;
static long begun, answered, accepted, refused, mistaken, broken, in_time;
static double last_answer;
static double *latencies;
static size_t latency_room;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static uint64_t random_bits(void) /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1du >> 16;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void watch(struct client *client)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event))
        die("epoll_ctl");
}

/* A connected socket, or -1: errno is EAGAIN where the server's backlog is full. */
static int connected(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    if (!connect(fd, (struct sockaddr *)&address, sizeof address))
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static size_t counted(char *to, const char *text)
{
    size_t size = strlen(text);
    to[0] = (char)(size >> 8);
    to[1] = (char)size;
    memcpy(to + 2, text, size);
    return size + 2;
}

static size_t base64(char *to, const unsigned char *from, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *start = to;
    for (size_t i = 0; i < size; i += 3) {
        unsigned group = from[i] << 16 | (i + 1 < size ? from[i + 1] << 8 : 0) | (i + 2 < size ? from[i + 2] : 0);
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = i + 1 < size ? digits[group >> 6 & 63] : '=';
        *to++ = i + 2 < size ? digits[group & 63] : '=';
    }
    return to - start;
}

static size_t mux_request(char *to, const char *login, const char *password)
{
    size_t size = counted(to, login);
    size += counted(to + size, password);
    size += counted(to + size, "smtp");
    return size + counted(to + size, domain);
}

static size_t dovecot_request(char *to, unsigned id, const char *login, const char *password)
{
    unsigned char plain[256];
    size_t size = snprintf((char *)plain, sizeof plain, "%c%s@%s%c%s", 0, login, domain, 0, password);
    size_t written = sprintf(to, "AUTH\t%u\tPLAIN\tservice=smtp\tsecured\tnologin\tresp=", id);
    written += base64(to + written, plain, size);
    to[written++] = '\n';
    return written;
}

static void send_login(struct client *client)
{
    char login[32], password[48], request[512];
    long person = shuffled ? (long)(random_bits() % (uint64_t)people) : begun % people;
    client->wrong = (int)(random_bits() % 100) < percent;
    client->have = 0;
    client->state = WAITING;
    client->id++;
    begun++;
    snprintf(login, sizeof login, "u%ld", person);
    snprintf(password, sizeof password, "%s-%s", login, client->wrong ? "wrong" : "pass");
    size_t size = dovecot ? dovecot_request(request, client->id, login, password) : mux_request(request, login, password);
    /* MSG_NOSIGNAL: a server that has gone shows when its answer is read. */
    (void)!send(client->fd, request, size, MSG_NOSIGNAL);
}

static int may_begin(double t)
{
    return limit ? begun < limit : t < deadline;
}

static void release(struct client *client)
{
    close(client->fd);
    client->state = FREE;
}

/* Start the client's next login, or leave it free (nothing more to do) or connecting (the backlog is full). */
static void begin(struct client *client, double t)
{
    if (client->state == HANDSHAKE || !may_begin(t))
        return;
    if (client->state != CONNECTING)
        client->began = t;
    if (dovecot && client->state == WAITING) {
        send_login(client);
        return;
    }
    client->fd = connected();
    if (client->fd < 0) {
        if (errno != EAGAIN)
            die(address.sun_path);
        client->state = CONNECTING;
        return;
    }
    watch(client);
    client->have = 0;
    if (dovecot) {
        char hello[64];
        /* Dovecot wants a process id of its own for each connection. */
        int size = sprintf(hello, "VERSION\t1\t1\nCPID\t%ld\n", (long)getpid() * 4096 % 1000000000 + (client - clients) + 1);
        (void)!send(client->fd, hello, size, MSG_NOSIGNAL);
        client->state = HANDSHAKE;
    } else
        send_login(client);
}

static void judge(struct client *client, int yes, int no, double t)
{
    answered++;
    accepted += yes;
    refused += no;
    mistaken += yes ? client->wrong : no ? !client->wrong : 1;
    if (limit || t <= deadline) {
        if ((size_t)in_time == latency_room) {
            latency_room = latency_room ? 2 * latency_room : 65536;
            latencies = realloc(latencies, latency_room * sizeof *latencies);
            if (!latencies)
                die("realloc");
        }
        latencies[in_time++] = t - client->began;
        last_answer = t;
    }
}

static void end_broken(struct client *client)
{
    if (client->state == WAITING)
        broken++;
    release(client);
}

/* Take what has arrived; true when the client's login has ended. */
static int receive(struct client *client, double t)
{
    ssize_t size = recv(client->fd, client->in + client->have, ROOM - 1 - client->have, 0);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0) {
        end_broken(client);
        return 1;
    }
    client->have += size;
    client->in[client->have] = 0;
    if (!dovecot) {
        if (client->have < 2 || client->have < 2u + ((unsigned char)client->in[0] << 8 | (unsigned char)client->in[1]))
            return 0;
        judge(client, !memcmp(client->in + 2, "OK", 2), !memcmp(client->in + 2, "NO", 2), t);
        release(client);
        return 1;
    }
    if (client->in[client->have - 1] != '\n')
        return 0;
    if (client->state == HANDSHAKE) {
        if (!strstr(client->in, "DONE\n"))
            return 0;
        client->state = WAITING;
        client->began = t;
        if (may_begin(t))
            send_login(client);
        else
            release(client);
        return 0;
    }
    char yes[32], no[32];
    size_t yes_size = sprintf(yes, "OK\t%u\t", client->id), no_size = sprintf(no, "FAIL\t%u", client->id);
    judge(client, !strncmp(client->in, yes, yes_size), !strncmp(client->in, no, no_size), t);
    if (!may_begin(t))
        release(client);
    return 1;
}

static int later(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double latency_ms(double share)
{
    return in_time ? latencies[(size_t)(share * (in_time - 1))] * 1e3 : 0;
}

static int load(void)
{
    struct epoll_event events[EVENTS];
    double start = now();
    deadline = start + seconds;
    for (int i = 0; i < in_flight; i++)
        begin(&clients[i], start);
    for (;;) {
        double t = now();
        int busy = 0, connecting = 0;
        for (int i = 0; i < in_flight; i++) {
            if (clients[i].state == CONNECTING)
                begin(&clients[i], t);
            connecting += clients[i].state == CONNECTING;
            busy += clients[i].state > CONNECTING;
        }
        if (!may_begin(t) && (!busy || (!limit && t > deadline + grace)))
            break;
        int count = epoll_wait(poller, events, EVENTS, connecting && !busy ? (int)(RETRY * 1e3) : 50);
        t = now();
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (receive(client, t))
                begin(client, t);
        }
        if (limit && !count && t > (last_answer ? last_answer : start) + 60)
            break;
    }
    long unanswered = 0;
    for (int i = 0; i < in_flight; i++)
        unanswered += clients[i].state == WAITING;
    double took = limit ? last_answer - start : seconds;
    qsort(latencies, in_time, sizeof *latencies, later);
    printf("{\"answered\": %ld, \"in_time\": %ld, \"seconds\": %.6f, \"accepted\": %ld, \"refused\": %ld, \"mistaken\": %ld, "
           "\"broken\": %ld, \"unanswered\": %ld, \"p50_ms\": %.4f, \"p95_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n",
           answered, in_time, took, accepted, refused, mistaken, broken, unanswered, latency_ms(.5), latency_ms(.95),
           latency_ms(.99), latency_ms(1));
    return 0;
}

static void hold_one(struct client *client, int half)
{
    client->fd = connected();
    client->state = client->fd < 0 ? CONNECTING : WAITING;
    if (client->fd < 0)
        return;
    watch(client);
    if (half)
        (void)!send(client->fd, "\0\7penguin\0\14pen", 14, MSG_NOSIGNAL);
}

static int hold(void)
{
    struct epoll_event events[EVENTS];
    struct pollfd input[2] = { { .fd = 0, .events = POLLIN }, { .fd = poller, .events = POLLIN } };
    int told = 0;
    for (;;) {
        for (int i = 0; i < in_flight; i++)
            if (clients[i].state < HANDSHAKE)
                hold_one(&clients[i], i & 1);
        if (!told) {
            told = 1;
            puts("held");
            fflush(stdout);
        }
        poll(input, 2, 50);
        if (input[0].revents)
            return 0;
        int count = epoll_wait(poller, events, EVENTS, 0);
        for (int i = 0; i < count; i++)
            release(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    int holding = !strcmp(mode, "hold"), option;
    dovecot = !strcmp(mode, "dovecot");
    optind = 2;
    while (argc > 2 && (option = getopt(argc, argv, "f:c:s:n:u:d:w:r:g:")) != -1)
        switch (option) {
        case 'f': strncpy(address.sun_path, optarg, sizeof address.sun_path - 1); break;
        case 'c': in_flight = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'g': grace = atof(optarg); break;
        case 'n': limit = atol(optarg); break;
        case 'u': people = atol(optarg); break;
        case 'd': domain = optarg; break;
        case 'w': percent = atoi(optarg); break;
        case 'r': shuffled = 1; seed += strtoull(optarg, NULL, 10) * 0x2545f4914f6cdd1du; break;
        default: return 2;
        }
    if (!(holding || dovecot || !strcmp(mode, "mux")) || !*address.sun_path || in_flight < 1 || people < 1)
        return fprintf(stderr, "usage: see the head of load.c\n"), 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc(in_flight, sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || poller < 0)
        die("start");
    return holding ? hold() : load();
}

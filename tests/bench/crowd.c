/* crowd: thousands of members of chat rooms on one thread, to measure a server from outside.
 *
 * Each member walks the whole way in: for lecturehall it asks the director's /route over a connection of its own, comes
 * back later when it is told to, connects to the node it was given and waits for `joined`; for the peers it connects to
 * the one server. Then it reads all it is sent and answers pings. A message carries the sender's clock (t=NANOSECONDS;)
 * and its latency is what has gone by when a member has read it.
 *
 *   cc -O2 -o crowd crowd.c
 *   crowd --dialect hall|socketio|bare --port PORT [--rooms FILE] [--prefix NAME]
 *
 * Commands come by standard input, one a line; each is answered by one JSON line when it is done. An `open` and a `send`
 * may be under way at the same time; members count from 0.
 *
 *   open FROM COUNT RATE WITHIN
 *                               so many members come, RATE a second (0: all at once); done when all are in or have failed,
 *                               or after WITHIN seconds
 *   send RATE SECONDS SENDERS WATCHERS
 *                               the first SENDERS members speak in turn, RATE messages a second in all; deliveries to the
 *                               first WATCHERS members count; done when all has come, or nothing more came for 3 s
 *   hush                        ends the speaking of a send that is under way
 *   leave FROM COUNT            so many members close at once
 *   return WITHIN [COUNT]       whoever loses its connection from now on comes back as PROTOCOL.md says (lecturehall only):
 *                               with `failed=`, spread over the window, with its position; whoever is told `moved` goes
 *                               where it was told when its slot comes, from when its way counts. Done when COUNT (1)
 *                               were lost or moved and all are back, or after WITHIN seconds. `pauses` are, for each room whose
 *                               epoch has grown, from its last ack of the old one to the first of the new one
 *   quit
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_MEMBERS 200000
#define MAX_ROOMS 10000
#define MAX_SENDERS 4096
#define ACKS 65536
#define READ_BYTES (1 << 20)
#define DRAIN_NS 3000000000ull
#define MEMBERS_AN_ADDRESS 20000 /* loopback has 28,000 ports for each source address */
#define BODY "hello lecture hall, this is a chat message of usual length"

enum dialect { HALL, SOCKETIO, BARE };
enum state {
    AWAY,      /* not asked to come, or gone */
    ROUTING,   /* on its way to the director, or waiting for its answer */
    UPGRADING, /* on its way to the node, or waiting for 101 */
    OPENING,   /* waiting for Engine.IO's 0 */
    ADMITTING, /* waiting for Socket.IO's 40 */
    JOINING,   /* waiting for `joined` */
    LIVE,
    WAITING,   /* told to come back later */
    FAILED
};

typedef struct {
    int fd;
    enum state state;
    int in_turn, was_told;      /* counted by the `open` under way; has a ticket and a node */
    uint16_t node_port;
    uint64_t began_at, again_at;
    char *path, *ticket;
    char node[64], log[40];     /* where it was, and its position */
    uint64_t epoch, seq, lost_at;
    int window_ms, is_back_soon, is_moving;
    uint64_t leave_at, frozen_cid, frozen_sent_at; /* what it was told to say at its new node */
    char *left;                 /* the beginning of what has not come whole yet */
    size_t left_len;
} member;

typedef struct {
    uint64_t counts[64][64], n, highest;
} histogram;

static enum dialect dialect;
static int director_port, ep;
static char prefix[32] = "crowd", nonce[17];
static char *rooms[MAX_ROOMS];
static int room_count, room_live[MAX_ROOMS];
static member members[MAX_MEMBERS];
static char buffer[READ_BYTES + (1 << 20)];

static struct {
    int active, next, end, asked, live, failed, refused;
    double rate, within;
    uint64_t began_at;
    histogram took;
} opening;

static struct {
    int active, draining, senders, watchers, room_watchers[MAX_ROOMS];
    double rate, seconds;
    uint64_t began_at, ended_at, heard_at, sent, unsent, expected, delivered, acked, denied, bytes, frames, gaps;
    histogram took, acks;
    double cpu_before;
} sending;

static struct {
    int active, lost, moved, live, recovered, tries, least;
    double within;
    uint64_t began_at;
    histogram took, pauses;
} returning;

static uint64_t ack_sent_at[ACKS], last_ack, lost, holes;
static uint64_t ack_cid[ACKS];
static struct { uint64_t epoch, acked_at; } room_acks[MAX_ROOMS];
static int highest_member;
static int waiting;
static char last_denial[200];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* --- histograms: 64 steps for each power of two of microseconds, so at most 1.6 % off */

static void count_span(histogram *h, uint64_t ns) {
    uint64_t us = ns / 1000 ? ns / 1000 : 1;
    int e = 63 - __builtin_clzll(us), m = (int)((e >= 6 ? us >> (e - 6) : us << (6 - e)) & 63);
    h->counts[e][m]++;
    h->n++;
    if (us > h->highest) h->highest = us;
}

static double percentile_ms(const histogram *h, double share) {
    uint64_t wanted = (uint64_t)((double)h->n * share), seen = 0;
    for (int e = 0; e < 64; e++)
        for (int m = 0; m < 64; m++)
            if ((seen += h->counts[e][m]) > wanted) return (double)(1ull << e) * (1 + m / 64.0) / 1e3;
    return (double)h->highest / 1e3;
}

static void print_histogram(const char *name, const histogram *h) {
    printf("\"%s\":{\"count\":%llu,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p95_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}", name,
           (unsigned long long)h->n, percentile_ms(h, .5), percentile_ms(h, .9), percentile_ms(h, .95), percentile_ms(h, .99),
           (double)h->highest / 1e3);
}

/* --- members */

static int index_of(const member *m) { return (int)(m - members); }
static int room_of(const member *m) { return index_of(m) % room_count; }

static void say(member *m, uint64_t cid, uint64_t sent_at);

static void finish_coming(member *m, int is_live) {
    if (is_live) room_live[room_of(m)]++;
    if (is_live && m->is_back_soon) {
        m->is_back_soon = 0;
        returning.live++;
        count_span(&returning.took, now() - m->lost_at);
        if (m->frozen_cid) say(m, m->frozen_cid, m->frozen_sent_at);
        m->frozen_cid = 0;
    }
    if (!m->in_turn) return;
    m->in_turn = 0;
    if (is_live) { opening.live++; count_span(&opening.took, now() - m->began_at); }
    else opening.failed++;
}

static void hang_up(member *m, enum state next) {
    if (m->fd > 0) close(m->fd);
    m->fd = 0;
    free(m->left);
    m->left = NULL;
    m->left_len = 0;
    if (m->state == LIVE) { room_live[room_of(m)]--; if (next == FAILED) lost++; }
    m->state = next;
}

static void come_back(member *m, uint64_t after_ms);

static int returns(member *m) { /* a first try within the window, then ever again */
    if (!returning.active || (m->state != LIVE && !m->is_back_soon)) return 0;
    if (m->state == LIVE) { m->is_back_soon = 1; m->lost_at = now(); returning.lost += !m->is_moving; }
    else returning.tries++;
    m->is_moving = 0;
    m->was_told = 0;
    come_back(m, (uint64_t)(drand48() * (m->state == LIVE ? m->window_ms : 500)));
    return 1;
}

static void fail(member *m, const char *why, const char *what) {
    if (returns(m)) return;
    snprintf(last_denial, sizeof last_denial, "%s: %.120s", why, what);
    for (char *c = last_denial; *c; c++) if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '\'';
    hang_up(m, FAILED);
    finish_coming(m, 0);
}

static void come_back(member *m, uint64_t after_ms) {
    hang_up(m, WAITING);
    m->again_at = now() + after_ms * 1000000ull;
    waiting++;
}

static void dial(member *m) {
    int one = 1, port = dialect == HALL && m->was_told ? m->node_port : director_port;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) { fail(m, "socket", strerror(errno)); return; }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (index_of(m) >= MEMBERS_AN_ADDRESS) {
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001 + (uint32_t)(index_of(m) / MEMBERS_AN_ADDRESS))};
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        bind(fd, (void *)&from, sizeof from);
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    m->fd = fd;
    m->state = dialect == HALL && !m->was_told ? ROUTING : UPGRADING;
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) { fail(m, "connect", strerror(errno)); return; }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = m};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

static void come(member *m) {
    m->in_turn = 1;
    m->was_told = 0;
    m->began_at = now();
    dial(m);
}

static int put(member *m, const char *bytes, size_t length) {
    return send(m->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static int put_frame(member *m, int opcode, const char *text, size_t length) {
    char frame[4096];
    size_t head = 2;
    if (length > sizeof frame - 16) return 0;
    frame[0] = (char)(0x80 | opcode);
    if (length < 126) frame[1] = (char)(0x80 | length);
    else { frame[1] = (char)(0x80 | 126); frame[2] = (char)(length >> 8); frame[3] = (char)length; head = 4; }
    memset(frame + head, 0, 4); /* a mask of zeros leaves the text as it is */
    memcpy(frame + head + 4, text, length);
    return put(m, frame, head + 4 + length);
}

static void put_text(member *m, const char *text) {
    if (!put_frame(m, 1, text, strlen(text))) fail(m, "write", strerror(errno));
}

static void ask(member *m) { /* the connection stands: say what is wanted */
    char request[1024], failed[80] = "";
    if (m->is_back_soon) snprintf(failed, sizeof failed, "&failed=%s", m->node);
    if (m->state == ROUTING)
        snprintf(request, sizeof request,
                 "GET /route?room=%s&user=%s-%d&name=%s-%d&role=student%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n",
                 rooms[room_of(m)], prefix, index_of(m), prefix, index_of(m), failed, director_port);
    else
        snprintf(request, sizeof request,
                 "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                 dialect == HALL ? m->path : dialect == SOCKETIO ? "/socket.io/" : "/",
                 dialect == BARE ? "" : "?EIO=4&transport=websocket");
    if (!put(m, request, strlen(request))) fail(m, "request", strerror(errno));
}

/* --- what the servers say. Texts are NUL-terminated in the buffer while they are looked at. */

static char *string_in(const char *json, const char *key) { /* a copy of a string that holds no escapes */
    const char *at = strstr(json, key), *end;
    if (!at || !(end = strchr(at + strlen(key), '"'))) return NULL;
    return strndup(at + strlen(key), (size_t)(end - at) - strlen(key));
}

static uint64_t retry_after_in(const char *json) {
    const char *at = strstr(json, "\"retry_after_ms\":");
    return at ? strtoull(at + strlen("\"retry_after_ms\":"), NULL, 10) : 0;
}

static void refused(member *m, const char *who, const char *json) {
    opening.refused++;
    if (strstr(json, "\"action\":\"retry\"")) { come_back(m, retry_after_in(json) + (uint64_t)(drand48() * 500)); return; }
    if (strstr(json, "\"action\":\"reroute\"")) { m->was_told = 0; come_back(m, 100); return; }
    fail(m, who, json);
}

static void on_route(member *m, char *answer) {
    char *body = strstr(answer, "\r\n\r\n"), *url;
    if (!body) { fail(m, "the director hung up", answer); return; }
    body += 4;
    if (strncmp(answer, "HTTP/1.1 200", 12)) { refused(m, "the director refused", body); return; }
    free(m->path);
    free(m->ticket);
    url = string_in(body, "\"url\":\"http://127.0.0.1:");
    char *node = string_in(body, "\"node\":\"");
    if (node) snprintf(m->node, sizeof m->node, "%s", node);
    free(node);
    m->path = string_in(body, "\"path\":\"");
    m->ticket = string_in(body, "\"ticket\":\"");
    if (!url || !m->path || !m->ticket) { free(url); fail(m, "not a route", body); return; }
    m->node_port = (uint16_t)atoi(url);
    free(url);
    hang_up(m, AWAY);
    m->was_told = 1;
    dial(m);
}

static void become_live(member *m) {
    free(m->path);
    free(m->ticket);
    m->path = m->ticket = NULL;
    m->state = LIVE;
    finish_coming(m, 1);
}

static void on_handshake(member *m, const char *text) {
    char hello[2048];
    if (!strncmp(text, "44", 2)) { refused(m, "the node refused", text); return; }
    if (!strncmp(text, "42[\"bye\"", 8)) { refused(m, "the node said bye", text); return; }
    if (m->state == OPENING && text[0] == '0') {
        m->state = ADMITTING;
        if (dialect == HALL) {
            char since[128] = "";
            if (m->is_back_soon)
                snprintf(since, sizeof since, ",\"since\":{\"log\":\"%s\",\"epoch\":%llu,\"seq\":%llu}", m->log,
                         (unsigned long long)m->epoch, (unsigned long long)m->seq);
            snprintf(hello, sizeof hello, "40{\"v\":1,\"ticket\":\"%s\",\"tail\":50%s}", m->ticket, since);
            put_text(m, hello);
        } else put_text(m, "40");
    } else if (m->state == ADMITTING && !strncmp(text, "40", 2)) {
        m->state = JOINING;
        if (dialect == SOCKETIO) put_text(m, "42[\"join\",{\"room\":\"r\"}]");
    } else if (m->state == JOINING && !strncmp(text, "42[\"joined\"", 11)) {
        const char *at = strstr(text, "\"pos\":{\"log\":\""), *window = strstr(text, "\"reconnect_window_ms\":");
        if (at) {
            unsigned long long epoch = 0, seq = 0;
            sscanf(at, "\"pos\":{\"log\":\"%39[^\"]\",\"epoch\":%llu,\"seq\":%llu", m->log, &epoch, &seq);
            if (m->is_back_soon && strstr(text, "\"recovered\":true")) returning.recovered++;
            holes += m->is_back_soon && seq < m->seq; /* what was shown is gone */
            m->epoch = epoch;
            m->seq = seq;
        }
        if (window) m->window_ms = atoi(window + strlen("\"reconnect_window_ms\":"));
        become_live(m);
    }
}

static void on_moved(member *m, const char *text) { /* stay until the slot comes */
    char *url = string_in(text, "\"url\":\"http://127.0.0.1:"), *node = string_in(text, "\"node\":\"");
    const char *after = strstr(text, "\"after_ms\":");
    if (!returning.active || m->is_moving || !url || !node || !after) { free(url); free(node); return; }
    m->path = string_in(text, "\"path\":\"");
    m->ticket = string_in(text, "\"ticket\":\"");
    m->node_port = (uint16_t)atoi(url);
    snprintf(m->node, sizeof m->node, "%s", node);
    m->leave_at = now() + strtoull(after + strlen("\"after_ms\":"), NULL, 10) * 1000000ull;
    m->is_moving = 1;
    returning.lost++;
    returning.moved++;
    free(url);
    free(node);
}

static void move_on(member *m) {
    hang_up(m, AWAY);
    m->is_moving = 0;
    m->is_back_soon = m->was_told = 1;
    m->lost_at = m->leave_at;
    dial(m);
}

static void on_frame(member *m, const char *text) {
    unsigned long long epoch, from, to;
    const char *at = strstr(text, "\"epoch\":");
    if (!at || sscanf(at, "\"epoch\":%llu,\"from\":%llu,\"to\":%llu", &epoch, &from, &to) != 3) return;
    holes += from != m->seq + 1;
    m->epoch = epoch;
    m->seq = to;
}

static void on_entries(member *m, const char *text, size_t length) {
    static const char mark[] = "\"text\":\"t=";
    const char *at = text, *end = text + length;
    if (!sending.active || index_of(m) >= sending.watchers) return;
    uint64_t read_at = now(), before = sending.delivered;
    sending.bytes += length;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
        at += sizeof mark - 1;
        uint64_t sent_at = strtoull(at, NULL, 10);
        if (sent_at < sending.began_at) continue; /* of an earlier command */
        sending.delivered++;
        sending.heard_at = read_at;
        count_span(&sending.took, read_at - sent_at);
    }
    sending.frames += sending.delivered > before;
}

static void on_ack(member *m, const char *text) {
    char *body;
    uint64_t id = strtoull(text + 2, &body, 10);
    if (!sending.active || !id || id + ACKS <= last_ack || ack_sent_at[id % ACKS] < sending.began_at) return;
    sending.heard_at = now();
    if (strstr(body, "\"FROZEN\"")) { /* the same again, as soon as it is live there */
        m->frozen_cid = ack_cid[id % ACKS];
        m->frozen_sent_at = ack_sent_at[id % ACKS];
        return;
    }
    if (strncmp(body, "[{\"", 3) || !strstr(body, "\"ok\":true")) {
        sending.denied++;
        snprintf(last_denial, sizeof last_denial, "%.120s", body);
        for (char *c = last_denial; *c; c++) if (*c == '"' || *c == '\\') *c = '\'';
        return;
    }
    const char *at = strstr(body, "\"epoch\":");
    uint64_t epoch = at ? strtoull(at + strlen("\"epoch\":"), NULL, 10) : 0;
    int room = room_of(m);
    if (returning.active && room_acks[room].epoch && epoch > room_acks[room].epoch)
        count_span(&returning.pauses, sending.heard_at - room_acks[room].acked_at);
    room_acks[room].epoch = epoch;
    room_acks[room].acked_at = sending.heard_at;
    sending.acked++;
    count_span(&sending.acks, sending.heard_at - ack_sent_at[id % ACKS]);
}

static void on_text(member *m, char *text, size_t length) {
    char after = text[length];
    text[length] = 0;
    if (length == 1 && text[0] == '2') put_text(m, "3");
    else if (m->state != LIVE) on_handshake(m, text);
    else if (!strncmp(text, "43", 2)) on_ack(m, text);
    else if (!strncmp(text, "42[\"bye\"", 8)) fail(m, "bye", text);
    else {
        if (!strncmp(text, "42[\"moved\"", 10)) on_moved(m, text);
        if (sending.active && !strncmp(text, "42[\"gap\"", 8)) sending.gaps++;
        if (!strncmp(text, "42[\"frame\"", 10) || !strncmp(text, "42[\"gap\"", 8)) on_frame(m, text);
        on_entries(m, text, length);
    }
    text[length] = after;
}

static size_t take_upgrade(member *m, char *bytes, size_t length) {
    bytes[length] = 0;
    char *end = strstr(bytes, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp(bytes, "HTTP/1.1 101", 12)) { fail(m, "no upgrade", bytes); return 0; }
    m->state = OPENING;
    if (dialect == BARE) become_live(m);
    return (size_t)(end + 4 - bytes);
}

static size_t take_frames(member *m, char *bytes, size_t length) {
    size_t done = 0;
    while (m->fd && length - done >= 2) {
        unsigned char *b = (unsigned char *)bytes + done;
        size_t size = b[1] & 127, head = 2, there = length - done;
        if (size == 126) { if (there < 4) break; size = (size_t)b[2] << 8 | b[3]; head = 4; }
        else if (size == 127) { if (there < 10) break; size = 0; for (int i = 2; i < 10; i++) size = size << 8 | b[i]; head = 10; }
        if (size > READ_BYTES) { fail(m, "frame", "too large"); break; }
        if (there < head + size) break;
        int opcode = b[0] & 15;
        if (opcode == 1) on_text(m, (char *)b + head, size);
        else if (opcode == 8) fail(m, "closed by the server", "");
        else if (opcode == 9) put_frame(m, 10, (char *)b + head, size);
        done += head + size;
    }
    return done;
}

static void on_readable(member *m) {
    for (;;) {
        size_t had = m->left_len;
        memcpy(buffer, m->left, had);
        ssize_t got = recv(m->fd, buffer + had, READ_BYTES - 1, 0);
        if (got < 0 && errno == EAGAIN) return;
        size_t length = had + (got > 0 ? (size_t)got : 0), done = 0;
        if (got <= 0) {
            buffer[length] = 0;
            if (m->state == ROUTING && got == 0) on_route(m, buffer);
            else fail(m, "connection lost", got ? strerror(errno) : "");
            return;
        }
        if (m->state == UPGRADING) done = take_upgrade(m, buffer, length);
        if (m->fd && m->state >= OPENING) done += take_frames(m, buffer + done, length - done);
        if (!m->fd) return;
        free(m->left);
        m->left_len = length - done;
        m->left = m->left_len ? memcpy(malloc(m->left_len), buffer + done, m->left_len) : NULL;
        if (m->left_len > READ_BYTES) { fail(m, "read", "too much without an end"); return; }
        if (got < READ_BYTES - 1) return;
    }
}

/* --- commands */

static double client_cpu(void) { return (double)clock() / CLOCKS_PER_SEC; }

static void begin_open(int from, int count, double rate, double within) {
    memset(&opening, 0, sizeof opening);
    opening.active = 1;
    opening.next = from;
    opening.end = from + count < MAX_MEMBERS ? from + count : MAX_MEMBERS;
    opening.asked = opening.end - from;
    if (opening.end > highest_member) highest_member = opening.end;
    opening.rate = rate;
    opening.within = within;
    opening.began_at = now();
}

static void give_up_on_the_late(int first) {
    for (int i = first; i < opening.next; i++)
        if (members[i].in_turn) fail(&members[i], "late", "");
    opening.failed += opening.end - opening.next;
    waiting = 0;
}

static void work_on_open(void) {
    if (!opening.active) return;
    uint64_t at = now();
    int first = opening.end - opening.asked;
    int due = opening.rate > 0 ? first + 1 + (int)((double)(at - opening.began_at) / 1e9 * opening.rate) : opening.end;
    /* at once: as fast as one thread may, but never without looking at what comes in */
    for (int burst = 0; opening.next < opening.end && opening.next < due && burst < 64; burst++) come(&members[opening.next++]);
    if (waiting)
        for (int i = first; i < opening.next; i++)
            if (members[i].state == WAITING && members[i].again_at <= at) { waiting--; dial(&members[i]); }
    if (opening.live + opening.failed < opening.asked && (double)(at - opening.began_at) / 1e9 < opening.within) return;
    give_up_on_the_late(first);
    opening.active = 0;
    printf("{\"done\":\"open\",\"live\":%d,\"failed\":%d,\"refused\":%d,\"seconds\":%.3f,\"last_denial\":\"%s\",", opening.live, opening.failed,
           opening.refused, (double)(at - opening.began_at) / 1e9, last_denial);
    print_histogram("took", &opening.took);
    puts("}");
}

static void begin_return(double within, int least) {
    memset(&returning, 0, sizeof returning);
    returning.active = 1;
    returning.within = within;
    returning.least = least;
    returning.began_at = now();
    holes = 0;
}

static void work_on_return(void) {
    if (!returning.active) return;
    uint64_t at = now();
    for (int i = 0; i < highest_member; i++)
        if (members[i].is_back_soon && members[i].state == WAITING && members[i].again_at <= at) dial(&members[i]);
        else if (members[i].is_moving && members[i].state == LIVE && members[i].leave_at <= at) move_on(&members[i]);
    int all_back = returning.lost >= returning.least && returning.live == returning.lost;
    if (!all_back && (double)(at - returning.began_at) / 1e9 < returning.within) return;
    returning.active = 0;
    printf("{\"done\":\"return\",\"lost\":%d,\"moved\":%d,\"live\":%d,\"recovered\":%d,\"tries\":%d,\"holes\":%llu,\"last_denial\":\"%s\",",
           returning.lost, returning.moved, returning.live, returning.recovered, returning.tries, (unsigned long long)holes, last_denial);
    print_histogram("took", &returning.took);
    putchar(',');
    print_histogram("pauses", &returning.pauses);
    puts("}");
}

static void begin_send(double rate, double seconds, int senders, int watchers) {
    memset(&sending, 0, sizeof sending);
    sending.active = 1;
    sending.rate = rate;
    sending.seconds = seconds;
    sending.senders = senders < MAX_SENDERS ? senders : MAX_SENDERS;
    sending.watchers = watchers;
    for (int i = 0; i < watchers; i++) if (members[i].state == LIVE) sending.room_watchers[room_of(&members[i])]++;
    sending.cpu_before = client_cpu();
    sending.began_at = sending.heard_at = now();
}

static void say(member *m, uint64_t cid, uint64_t sent_at) {
    char text[1024];
    uint64_t id = ++last_ack;
    ack_sent_at[id % ACKS] = sent_at;
    ack_cid[id % ACKS] = cid;
    snprintf(text, sizeof text, "42%llu[\"send\",{\"cid\":\"%s-%llu\",\"text\":\"t=%llu; " BODY "\"}]", (unsigned long long)id, nonce,
             (unsigned long long)cid, (unsigned long long)sent_at);
    put_text(m, text);
}

static void speak(member *m) {
    char text[1024];
    uint64_t at = now();
    if (m->state != LIVE) { sending.unsent++; return; }
    if (dialect == HALL) say(m, last_ack + 1, at);
    else {
        snprintf(text, sizeof text, "42[\"message\",{\"text\":\"t=%llu; " BODY "\"}]", (unsigned long long)at);
        put_text(m, text);
    }
    if (m->state != LIVE) { sending.unsent++; return; }
    sending.sent++;
    sending.expected += (uint64_t)sending.room_watchers[room_of(m)];
}

static void work_on_send(void) {
    if (!sending.active) return;
    uint64_t at = now();
    double gone = (double)(at - sending.began_at) / 1e9;
    if (!sending.draining) {
        uint64_t all = (uint64_t)(sending.rate * sending.seconds), due = (uint64_t)(gone * sending.rate) + 1;
        if (due > all) due = all;
        for (int burst = 0; sending.sent + sending.unsent < due && burst < 64; burst++)
            speak(&members[(sending.sent + sending.unsent) % (uint64_t)sending.senders]);
        if (gone < sending.seconds || sending.sent + sending.unsent < all) return;
        sending.draining = 1;
        sending.ended_at = at;
        if (sending.heard_at < at) sending.heard_at = at;
    }
    int all_acked = dialect != HALL || sending.acked + sending.denied >= sending.sent;
    uint64_t wanted = sending.sent ? sending.expected - sending.expected / sending.sent * sending.denied : 0;
    if ((sending.delivered < wanted || !all_acked) && at - sending.heard_at < DRAIN_NS) return;
    sending.active = 0;
    printf("{\"done\":\"send\",\"sent\":%llu,\"unsent\":%llu,\"expected\":%llu,\"delivered\":%llu,\"frames\":%llu,\"gaps\":%llu,\"acked\":%llu,"
           "\"denied\":%llu,\"lost\":%llu,\"bytes\":%llu,\"send_seconds\":%.3f,\"drain_seconds\":%.3f,\"client_cpu_seconds\":%.3f,"
           "\"last_denial\":\"%s\",",
           (unsigned long long)sending.sent, (unsigned long long)sending.unsent, (unsigned long long)sending.expected,
           (unsigned long long)sending.delivered, (unsigned long long)sending.frames, (unsigned long long)sending.gaps,
           (unsigned long long)sending.acked, (unsigned long long)sending.denied, (unsigned long long)lost,
           (unsigned long long)sending.bytes, (double)(sending.ended_at - sending.began_at) / 1e9,
           (double)(sending.heard_at - sending.ended_at) / 1e9, client_cpu() - sending.cpu_before, last_denial);
    print_histogram("delivery", &sending.took);
    putchar(',');
    print_histogram("ack", &sending.acks);
    puts("}");
}

static void leave(int from, int count) {
    int left = 0;
    for (int i = from; i < from + count && i < MAX_MEMBERS; i++) {
        if (members[i].state != LIVE) continue;
        put_frame(&members[i], 8, "\x03\xe9", 2);
        hang_up(&members[i], AWAY);
        left++;
    }
    printf("{\"done\":\"leave\",\"left\":%d}\n", left);
}

static int obey(char *line) {
    double rate, seconds;
    int a, b;
    if (sscanf(line, "open %d %d %lf %lf", &a, &b, &rate, &seconds) == 4) begin_open(a, b, rate, seconds);
    else if (sscanf(line, "send %lf %lf %d %d", &rate, &seconds, &a, &b) == 4) begin_send(rate, seconds, a, b);
    else if (sscanf(line, "leave %d %d", &a, &b) == 2) leave(a, b);
    else if (sscanf(line, "return %lf %d", &seconds, &a) == 2) begin_return(seconds, a);
    else if (sscanf(line, "return %lf", &seconds) == 1) begin_return(seconds, 1);
    else if (!strncmp(line, "hush", 4)) sending.seconds = 0;
    else if (!strncmp(line, "quit", 4)) return 0;
    else fprintf(stderr, "crowd: what is %s", line);
    return 1;
}

static int read_commands(void) { /* whole lines: each is written at once */
    static char lines[4096];
    ssize_t got = read(0, lines, sizeof lines - 1);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    lines[got] = 0;
    for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n")) if (!obey(line)) return 0;
    return 1;
}

static void load_rooms(const char *path) {
    char line[256];
    FILE *file = fopen(path, "r");
    if (!file) { perror(path); exit(2); }
    while (room_count < MAX_ROOMS && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line) rooms[room_count++] = strdup(line);
    }
    fclose(file);
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        char *value = argv[i + 1];
        if (!strcmp(argv[i], "--dialect")) dialect = !strcmp(value, "hall") ? HALL : !strcmp(value, "socketio") ? SOCKETIO : BARE;
        else if (!strcmp(argv[i], "--port")) director_port = atoi(value);
        else if (!strcmp(argv[i], "--rooms")) load_rooms(value);
        else if (!strcmp(argv[i], "--prefix")) snprintf(prefix, sizeof prefix, "%s", value);
        else { fprintf(stderr, "crowd: unknown option %s\n", argv[i]); return 2; }
    }
    if (!room_count) rooms[room_count++] = "r";
    uint64_t chance = 0;
    if (getrandom(&chance, sizeof chance, 0) != sizeof chance) return 1;
    snprintf(nonce, sizeof nonce, "%016llx", (unsigned long long)chance);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){1048576, 1048576})) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    ep = epoll_create1(EPOLL_CLOEXEC);
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL}, events[1024];
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &commands);
    for (;;) {
        int count = epoll_wait(ep, events, 1024, opening.active || sending.active || returning.active ? 1 : 1000);
        for (int i = 0; i < count; i++) {
            member *m = events[i].data.ptr;
            if (!m) { if (!read_commands()) return 0; continue; }
            if (!m->fd) continue;
            if (events[i].events & EPOLLOUT && (m->state == ROUTING || m->state == UPGRADING)) {
                int error = 0;
                socklen_t size = sizeof error;
                getsockopt(m->fd, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error) { fail(m, "connect", strerror(error)); continue; }
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = m};
                epoll_ctl(ep, EPOLL_CTL_MOD, m->fd, &event);
                ask(m);
            } else if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(m);
        }
        work_on_open();
        work_on_return();
        work_on_send();
    }
}

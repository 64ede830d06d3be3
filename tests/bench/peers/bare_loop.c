/* bare_loop: the least that one thread can do to fan a WebSocket message out, as the measure for all others.
 *
 * Reads a client's text frame, takes the mask off and send()s it to every connection, one call for each. No rooms, no
 * tickets, no history, no store, no order, no bounds: a limit of the machine, not a product.
 *
 *   cc -O2 -o bare_loop bare_loop.c && ./bare_loop PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FILES 200000
#define MAX_FRAME 65536

static const char SWITCHING[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"; /* of the crowd's one key */

static int members[MAX_FILES], place_of[MAX_FILES], count; /* place_of: a connection's place in members, plus one */
static unsigned char in[MAX_FRAME + 16], out[MAX_FRAME + 16];

static void admit(int fd) {
    members[count++] = fd;
    place_of[fd] = count;
    send(fd, SWITCHING, sizeof SWITCHING - 1, MSG_NOSIGNAL);
}

static void part(int fd) {
    if (place_of[fd]) {
        int last = members[--count];
        members[place_of[fd] - 1] = last;
        place_of[last] = place_of[fd];
        place_of[fd] = 0;
    }
    close(fd);
}

/* Fan out all whole frames among `got` bytes; the crowd never sends half of one. */
static void fan_out(size_t got) {
    for (size_t at = 0; got - at >= 6;) {
        unsigned char *frame = in + at, *mask;
        size_t size = frame[1] & 127, head = 2;
        if (size == 126) { size = (size_t)frame[2] << 8 | frame[3]; head = 4; }
        if (got - at < head + 4 + size || size > MAX_FRAME) return;
        memcpy(out, frame, head);
        out[1] &= 127;
        mask = frame + head;
        for (size_t i = 0; i < size; i++) out[head + i] = mask[4 + i] ^ mask[i & 3];
        if ((frame[0] & 15) == 1)
            for (int i = 0; i < count; i++) send(members[i], out, head + size, MSG_NOSIGNAL);
        at += head + 4 + size;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) { fprintf(stderr, "usage: bare_loop PORT\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) { perror("bare_loop"); return 1; }
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd, client;
            if (fd == listener) {
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    event.data.fd = client;
                    epoll_ctl(ep, EPOLL_CTL_ADD, client, &event);
                }
                continue;
            }
            ssize_t got = recv(fd, in, MAX_FRAME, 0);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0) part(fd);
            else if (!place_of[fd]) admit(fd);
            else fan_out((size_t)got);
        }
    }
}

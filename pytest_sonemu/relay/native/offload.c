/* Frames with a vnet header: what they are, how long on the wire, and cut into wire frames; as offload.py. */
#include "core.h"

#include <netinet/in.h>
#include <string.h>

static unsigned word_at(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static void set_word(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static unsigned fold(uint64_t sum) {
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (unsigned)sum;
}

static uint64_t sum_of(const uint8_t *data, size_t length) {
    uint64_t sum = 0;
    for (; length > 1; data += 2, length -= 2)
        sum += word_at(data);
    return length ? sum + ((uint64_t)data[0] << 8) : sum;
}

struct vnet {
    uint8_t flags, kind;
    uint16_t header, size, start, offset;
};

static struct vnet vnet_of(const uint8_t *data) {
    struct vnet vnet;
    _Static_assert(sizeof vnet == VNET, "no padding");
    memcpy(&vnet, data, VNET);
    return vnet;
}

static unsigned network_header(const uint8_t *data, uint32_t length, uint32_t *at) {
    uint32_t place = VNET + 12;
    while (length >= place + 2) {
        unsigned kind = word_at(data + place);
        place += 2;
        if (kind != ETH_P_8021Q && kind != ETH_P_8021AD) {
            *at = place;
            return kind;
        }
        place += 2;
    }
    *at = length;
    return 0;
}

uint8_t kind_of(const uint8_t *data, uint32_t length) {
    uint32_t at;
    unsigned kind = network_header(data, length, &at);
    if (kind == ETH_P_IP)
        return length < at + 20 || data[at + 9] == IPPROTO_IGMP;
    if (kind != ETH_P_IPV6 || length < at + 40)
        return 1;
    unsigned upper = data[at + 6];
    at += 40;
    if (upper == IPPROTO_HOPOPTS && length >= at + 8) {
        upper = data[at];
        at += 8 * (data[at + 1] + 1u);
    }
    if (upper != IPPROTO_ICMPV6 || length <= at)
        return 0;
    return (data[at] >= 130 && data[at] <= 137) || data[at] == 143;
}

static uint32_t header_length(const uint8_t *data, uint32_t length, const struct vnet *vnet) {
    unsigned kind = vnet->kind & ~(unsigned)GSO_ECN;
    uint32_t header = 0;
    if (kind == GSO_UDP)
        header = vnet->start + 8u;
    else if ((kind == GSO_TCP4 || kind == GSO_TCP6) && VNET + vnet->start + 20u <= length) {
        unsigned words = data[VNET + vnet->start + 12] >> 4;
        header = words >= 5 ? vnet->start + 4 * words : 0;
    }
    return vnet->start >= ETHERNET + 20 && VNET + header <= length ? header : 0;
}

uint32_t wire_size(const uint8_t *data, uint32_t length, uint32_t *segments) {
    struct vnet vnet = vnet_of(data);
    uint32_t header = 0, bytes = length - VNET;
    *segments = 1;
    if (vnet.kind && vnet.size && vnet.flags & NEEDS_CHECKSUM)
        header = header_length(data, length, &vnet);
    if (!header || bytes - header <= vnet.size)
        return bytes;
    *segments = (bytes - header + vnet.size - 1) / vnet.size;
    return bytes + (*segments - 1) * header;
}

void corrupt(uint8_t *data, uint32_t length, uint64_t place) {
    struct vnet vnet = vnet_of(data);
    uint32_t first = VNET + ETHERNET;
    if (length <= first)
        return;
    if (vnet.flags & NEEDS_CHECKSUM && VNET + (uint32_t)vnet.start + vnet.offset + 2 <= length) {
        unsigned sum = ~fold(sum_of(data + VNET + vnet.start, length - VNET - vnet.start)) & 0xFFFF;
        set_word(data + VNET + vnet.start + vnet.offset, sum ? sum : 0xFFFF);
    }
    memset(data, 0, VNET);
    uint64_t bit = place % ((uint64_t)(length - first) * 8);
    data[first + bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* A tag that the kernel took out, put back. Returns where the frame begins now: 4 bytes further to the front. */
uint8_t *with_tag(uint8_t *data, uint32_t *length, unsigned tag_type, unsigned tag) {
    struct vnet vnet = vnet_of(data);
    if (vnet.flags & NEEDS_CHECKSUM)
        vnet.start = (uint16_t)(vnet.start + 4);
    if (vnet.kind)
        vnet.header = (uint16_t)(vnet.header + 4);
    memmove(data - 4, data, VNET + 12);
    data -= 4;
    *length += 4;
    memcpy(data, &vnet, VNET);
    set_word(data + VNET + 12, tag_type);
    set_word(data + VNET + 14, tag);
    return data;
}

/* Whether a transport header of this protocol follows the IP header at `network` at once, or behind options only
 * that leave its checksum alone: of a tunnel the kernel means the inner one, which cut() knows nothing of. */
static bool leads_to(const uint8_t *data, unsigned ethertype, uint32_t network, uint32_t transport, unsigned protocol) {
    if (ethertype == ETH_P_IP)
        return network + 20 <= transport && network + 4u * (data[network] & 15) == transport &&
               data[network + 9] == protocol;
    if (ethertype != ETH_P_IPV6 || network + 40 > transport)
        return false;
    unsigned next = data[network + 6];
    uint32_t at = network + 40;
    while (at + 8 <= transport && (next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS)) {
        next = data[at];
        at += 8 * (data[at + 1] + 1u);
    }
    return at == transport && next == protocol;
}

/* Whether cut() can do it: TCP or UDP right behind the frame's own IP header. */
bool can_cut(const uint8_t *data, uint32_t length) {
    struct vnet vnet = vnet_of(data);
    uint32_t network, header = header_length(data, length, &vnet);
    unsigned ethertype = network_header(data, length, &network);
    bool udp = (vnet.kind & ~(unsigned)GSO_ECN) == GSO_UDP;
    if (!header || vnet.start + vnet.offset + 2u > header)
        return false;
    return leads_to(data, ethertype, network, VNET + vnet.start, udp ? IPPROTO_UDP : IPPROTO_TCP);
}

void cut(struct core *core, struct way *way, const uint8_t *data, uint32_t length, uint8_t kind, int64_t now) {
    struct vnet vnet = vnet_of(data);
    uint32_t header = header_length(data, length, &vnet), total = length - VNET, network, number = 0;
    unsigned ethertype = network_header(data, length, &network), transport = vnet.start;
    bool tcp = (vnet.kind & ~(unsigned)GSO_ECN) != GSO_UDP;
    struct vnet piece = {.flags = vnet.flags, .start = vnet.start, .offset = vnet.offset};

    network -= VNET;
    for (uint32_t position = header; position < total; position += vnet.size, number++) {
        uint32_t payload = total - position < vnet.size ? total - position : vnet.size;
        unsigned upper = header - transport + payload;
        if (core->held > core->most_held) {
            way->counters.memory++;
            continue;
        }
        struct frame *frame = own_frame(core, way, VNET + header + payload);
        if (!frame) {
            core->no_memory++;
            continue;
        }
        memcpy(frame->data, &piece, VNET);
        memcpy(frame->data + VNET, data + VNET, header);
        memcpy(frame->data + VNET + header, data + VNET + position, payload);
        uint8_t *heads = frame->data + VNET, *ip = heads + network, *up = heads + transport;
        uint64_t addresses;
        if (ethertype == ETH_P_IP) {
            set_word(ip + 2, header - network + payload);
            set_word(ip + 4, (word_at(ip + 4) + number) & 0xFFFF);
            set_word(ip + 10, 0);
            set_word(ip + 10, ~fold(sum_of(ip, 4u * (ip[0] & 15))) & 0xFFFF);
            addresses = sum_of(ip + 12, 8);
        } else {
            set_word(ip + 4, header - network - 40 + payload);
            addresses = sum_of(ip + 8, 32);
        }
        if (tcp) {
            uint32_t sequence = ((uint32_t)word_at(up + 4) << 16 | word_at(up + 6)) + (position - header);
            set_word(up + 4, sequence >> 16);
            set_word(up + 6, sequence & 0xFFFF);
            if (number)
                up[13] &= (uint8_t)~0x80;
            if (position + vnet.size < total)
                up[13] &= (uint8_t)~0x09;
        } else {
            set_word(up + 4, upper);
        }
        set_word(up + vnet.offset, fold(addresses + (tcp ? IPPROTO_TCP : IPPROTO_UDP) + upper));
        frame->size = header + payload;
        frame->segments = 1;
        frame->kind = kind;
        start(core, frame, now);
    }
}

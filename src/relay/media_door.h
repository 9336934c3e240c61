// GET /media/{hash}: kept files for whoever holds a signed link (model/media_link.h). The bytes go from the disk to the client in
// pieces, as fast as it takes them, and are read on a thread of the pool.
//
// What a sender said of a file is not believed: types that a browser shows without running anything are shown, all others are
// saved; and the page that a file might be is shut in (Content-Security-Policy: sandbox).
#pragma once
#include "relay/intake.h"

// Answers a GET or HEAD whose path is media_link_path. On the exchange's loop.
void media_door_take(struct intake *intake, struct http_exchange *exchange);

// The bytes of a file of `size` bytes that a Range header asks for (RFC 9110, section 14.1.2).
enum media_range {
    MEDIA_RANGE_WHOLE, // none, or none that is obeyed: several, other units, malformed
    MEDIA_RANGE_PART,
    MEDIA_RANGE_OUTSIDE,
};
enum media_range media_range_read(struct str header, int64_t size, int64_t *out_from, int64_t *out_size);
// The Content-Type that a file is given with, and whether a browser may show it in place.
struct str media_shown_type(struct str mime, bool *out_inline);
// A Content-Disposition with this name (RFC 6266, RFC 8187), whatever is in it. In the arena.
struct str media_disposition(struct str name, bool shown, struct arena *arena);

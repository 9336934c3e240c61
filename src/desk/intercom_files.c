// A message with its files, as agents get it. A file that is kept goes as an upload, inside the request (base64 within its JSON); what an
// upload does not take, or Intercom refuses, as a signed link, or, where nobody else could follow one, as a line that names it. A file
// that could not be had is a line that says so, one that is still to come is announced by one.
//
//   REPLY   takes uploads: text and files are one part
//   OPEN    takes addresses of images alone, which Intercom must be able to reach. Else: OPEN with the text, then REPLY with the files.
//           Between the two link.note says that the text is there (files=), so that it is never said twice and no file is left out.
//
// What is at the desk is told from what it shows: a text that announces a file was sent without it.
#include "base/must.h"
#include "desk/intercom.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum {
    UPLOADS_MAX = 10,                    // of one request (description 2.16: 10 files, and 10 addresses)
    UPLOAD_BYTES_MAX = 25 * 1024 * 1024, // of one request, before base64
    PLAIN_AFTER = 2,                     // so many attempts failed: it may be the files that break the desk
    TAILS_PER_FILE = 4,
};

static uint32_t bit_of(size_t nth)
{
    return nth < FILES_MAX ? UINT32_C(1) << nth : 0;
}

static uint32_t bits_in(const struct intercom_run *run, enum file_state state)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < run->file_count; i++)
        if (run->files[i].state == state)
            bits |= bit_of(i);
    return bits;
}

// Of which there is something to be said for good.
static uint32_t settled(const struct intercom_run *run)
{
    return bits_in(run, FILE_KEPT) | bits_in(run, FILE_FAILED) | bits_in(run, FILE_ELSEWHERE);
}

bool intercom_files_left(const struct intercom *s)
{
    return (settled(s->run) & ~s->run->told) != 0;
}

// Texts ----------------------------------------------------------------------------------------------------

// Who said it, where several talk.
static struct str with_speaker(struct intercom *s, struct str text)
{
    const struct message *message = s->attempt->message;
    struct str name = message->sender_name.n ? message->sender_name : message->sender_id;
    if (!message->conversation_name.p)
        return text;
    return arena_printf(s->arena, "%.*s: %.*s", STR_ARG(name), STR_ARG(text));
}

static struct str kind_of(const struct attachment *file)
{
    return file->kind.n ? file->kind : STR("file");
}

// What it is called in a line: the same at each attempt, whatever is learned of it meanwhile.
static struct str title_of(struct intercom *s, size_t nth)
{
    const struct attachment *file = &s->run->files[nth];
    if (file->name.n)
        return file->name;
    if (s->run->file_count == 1)
        return kind_of(file);
    return arena_printf(s->arena, "%.*s %zu", STR_ARG(kind_of(file)), nth + 1);
}

// What it is called as an upload: with an ending that tells what it is.
static struct str upload_name(struct intercom *s, size_t nth)
{
    const struct attachment *file = &s->run->files[nth];
    struct str ending = str_sub(file->mime, str_index(file->mime, '/', 0) + 1, file->mime.n);
    bool plain = ending.n >= 2 && ending.n <= 5;
    for (size_t i = 0; i < ending.n && plain; i++)
        plain = isalnum((unsigned char)ending.p[i]);
    if (file->name.n || !plain)
        return title_of(s, nth);
    return ARENA_JOIN(s->arena, title_of(s, nth), STR("."), ending);
}

static struct str size_text(int64_t size, struct arena *arena)
{
    if (size < 1000)
        return arena_printf(arena, "%" PRId64 " bytes", size);
    if (size < 1000000)
        return arena_printf(arena, "%" PRId64 " kB", (size + 500) / 1000);
    if (size < 10000000)
        return arena_printf(arena, "%" PRId64 ".%" PRId64 " MB", size / 1000000, size / 100000 % 10);
    return arena_printf(arena, "%" PRId64 " MB", size / 1000000);
}

static bool has_public_links(const struct intercom *s)
{
    return s->attempt->links && s->attempt->links->is_public;
}

static struct str link_to(struct intercom *s, size_t nth)
{
    return media_link(s->attempt->links, &s->run->files[nth], s->attempt->now_us, s->arena);
}

static void add_line(struct buf *out, struct str line)
{
    if (out->n)
        buf_add_char(out, '\n');
    buf_add_str(out, line);
}

static struct str address_line(struct intercom *s, size_t nth, struct str url)
{
    const struct attachment *file = &s->run->files[nth];
    return ARENA_JOIN(s->arena, kind_of(file), STR(": "), file->name, file->name.n ? STR(" ") : STR(""), url);
}

// STR_NONE: there is nothing to be said.
static struct str line_of(struct intercom *s, size_t nth)
{
    const struct attachment *file = &s->run->files[nth];
    struct str title = title_of(s, nth);
    switch (file->state) {
    case FILE_WANTED:
        return ARENA_JOIN(s->arena, STR("["), title, STR(" follows]"));
    case FILE_FAILED:
        return ARENA_JOIN(s->arena, STR("["), title, STR(" could not be fetched: "), file->why, STR("]"),
                          file->url.n ? STR(" ") : STR(""), file->url);
    case FILE_KEPT:
        if (has_public_links(s))
            return address_line(s, nth, link_to(s, nth));
        return ARENA_JOIN(s->arena, title, STR(" ("), size_text(file->size, s->arena), STR("): kept at the relay"));
    case FILE_ELSEWHERE:
        return file->url.n ? address_line(s, nth, file->url) : STR_NONE;
    }
    return STR_NONE;
}

// The text, unless it is there, and what is to be said of the files but for those that go as `uploads`. Those are named where
// there is no text, since no message at Intercom is without a body.
static struct str body_with(struct intercom *s, uint32_t uploads)
{
    const struct intercom_run *run = s->run;
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    if (!run->text_there)
        buf_add_str(&buf, s->attempt->message->text);
    for (size_t i = 0; i < run->file_count; i++) {
        struct str line = STR_NONE;
        bool said = run->text_there && (!bit_of(i) || run->told & bit_of(i) || run->files[i].state == FILE_WANTED);
        if (!said && !(uploads & bit_of(i)))
            line = line_of(s, i);
        if (line.n)
            add_line(&buf, line);
    }
    for (size_t i = 0; i < run->file_count && (run->text_there || !s->attempt->message->text.n); i++)
        if (uploads & bit_of(i))
            add_line(&buf, upload_name(s, i));
    if (!buf.n)
        buf_add_str(&buf, STR("(empty message)"));
    return with_speaker(s, intercom_written(s, &buf));
}

// As the agent reads it. A text alone goes as it is.
static struct str body_for(struct intercom *s, uint32_t uploads)
{
    const struct message *message = s->attempt->message;
    bool text_alone = !message->conversation_name.p && !message->attachments.n && message->text.n;
    return message->direction == NOTE || text_alone ? message->text : body_with(s, uploads);
}

// Going ----------------------------------------------------------------------------------------------------

static uint32_t choose_uploads(const struct intercom_run *run)
{
    uint32_t bits = 0;
    int64_t bytes = 0;
    int count = 0;
    for (size_t i = 0; i < run->file_count && i < FILES_MAX && !run->no_uploads; i++) {
        const struct attachment *file = &run->files[i];
        bool fits = file->size >= 0 && file->size <= UPLOAD_BYTES_MAX - bytes && count < UPLOADS_MAX;
        if (file->state != FILE_KEPT || run->told & bit_of(i) || !fits)
            continue;
        bits |= bit_of(i);
        bytes += file->size;
        count++;
    }
    return bits;
}

static bool is_image(const struct attachment *file)
{
    return file->mime.n ? str_starts(file->mime, STR("image/")) : str_eq_c(file->kind, "image");
}

// Whether the kept files can go as addresses: images, few, and Intercom can reach them.
static bool are_for_urls(const struct intercom *s)
{
    const struct intercom_run *run = s->run;
    size_t count = 0;
    for (size_t i = 0; i < run->file_count; i++) {
        if (run->files[i].state == FILE_KEPT && !is_image(&run->files[i]))
            return false;
        count += run->files[i].state == FILE_KEPT;
    }
    return count && count <= UPLOADS_MAX && !run->no_urls && has_public_links(s);
}

static void write_urls(struct intercom *s, struct json *json, uint32_t files)
{
    json_key(json, "attachment_urls");
    json_open(json, '[');
    for (size_t i = 0; i < s->run->file_count; i++)
        if (files & bit_of(i))
            json_str(json, link_to(s, i));
    json_close(json, ']');
}

void intercom_send_open(struct intercom *s)
{
    struct intercom_run *run = s->run;
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    bool urls = are_for_urls(s);
    uint32_t apart = urls ? bits_in(run, FILE_KEPT) : choose_uploads(run);
    run->uploads = urls ? apart : 0;
    run->going = settled(run) & ~(apart & ~run->uploads);
    json_open(&json, '{');
    json_key(&json, "from");
    json_open(&json, '{');
    json_key_str(&json, "type", STR("user"));
    json_key_str(&json, "id", s->attempt->link.contact);
    json_close(&json, '}');
    json_key_str(&json, "body", body_for(s, apart));
    json_key_int(&json, "created_at", run->created_s);
    if (urls)
        write_urls(s, &json, apart);
    json_close(&json, '}');
    intercom_send(s, PHASE_OPEN, "POST", STR("/conversations"), intercom_written(s, &buf));
}

// Where the bytes of each go is noted in `cuts`.
static size_t write_uploads(struct intercom *s, struct json *json, size_t cuts[UPLOADS_MAX])
{
    size_t count = 0;
    json_key(json, "attachment_files");
    json_open(json, '[');
    for (size_t i = 0; i < s->run->file_count; i++) {
        const struct attachment *file = &s->run->files[i];
        if (!(s->run->uploads & bit_of(i)))
            continue;
        json_open(json, '{');
        json_key_str(json, "content_type", file->mime.n ? file->mime : STR("application/octet-stream"));
        json_key_str(json, "name", upload_name(s, i));
        json_key(json, "data");
        json_raw(json, STR("\"\""));
        cuts[count++] = json->out->n - 1;
        json_close(json, '}');
    }
    json_close(json, ']');
    return count;
}

// The body with the files in their places.
static void cut_into_parts(struct intercom *s, struct str body, const size_t *cuts, size_t count)
{
    struct http_request *request = &s->out->request;
    struct http_part *parts = arena_alloc(s->arena, (2 * count + 1) * sizeof *parts);
    size_t n = 0, from = 0;
    for (size_t i = 0; i < s->run->file_count; i++) {
        const struct attachment *file = &s->run->files[i];
        if (!(s->run->uploads & bit_of(i)))
            continue;
        size_t cut = cuts[n / 2];
        parts[n++].bytes = str_sub(body, from, cut);
        parts[n++] = (struct http_part){.file = file->hash, .file_size = file->size, .base64 = true};
        from = cut;
    }
    must(n == 2 * count);
    parts[n++].bytes = str_sub(body, from, body.n);
    request->body = STR_NONE;
    request->parts = parts;
    request->part_count = n;
}

void intercom_send_reply(struct intercom *s)
{
    struct intercom_run *run = s->run;
    struct buf buf;
    size_t cuts[UPLOADS_MAX], count = 0;
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    run->uploads = choose_uploads(run);
    run->going = settled(run);
    json_open(&json, '{');
    json_key_str(&json, "message_type", STR("comment"));
    json_key_str(&json, "type", STR("user"));
    json_key_str(&json, "intercom_user_id", s->attempt->link.contact);
    json_key_str(&json, "body", body_for(s, run->uploads));
    json_key_int(&json, "created_at", run->created_s);
    if (run->uploads)
        count = write_uploads(s, &json, cuts);
    json_close(&json, '}');
    struct str body = intercom_written(s, &buf);
    intercom_send(s, PHASE_REPLY, "POST", intercom_conversation_path(s, "/reply"), body);
    if (count)
        cut_into_parts(s, body, cuts, count);
}

bool intercom_send_without(struct intercom *s, const struct http_response *last)
{
    static const int refusals[] = {400, 413, 415, 422};
    struct intercom_run *run = s->run;
    bool refused = false;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        refused |= intercom_answered(last, refusals[i]);
    if (!refused || !run->uploads)
        return false;
    if (s->attempt->phase == PHASE_OPEN)
        run->no_urls = true;
    else
        run->no_uploads = true;
    intercom_go_on(s);
    return true;
}

// What is there -------------------------------------------------------------------------------------------

void intercom_files_begin(struct intercom *s)
{
    struct intercom_run *run = s->run;
    const struct message *message = s->attempt->message;
    if (message->direction != NOTE)
        run->file_count = attachments_read(message->attachments, s->arena, &run->files);
    run->no_uploads = run->no_urls = message->attempts >= PLAIN_AFTER;
    run->text_there = run->note.files_id == message->id && s->attempt->link.conversation.n;
    if (run->text_there)
        run->told = run->note.files_told;
    if (!run->file_count)
        run->body = body_for(s, 0);
}

// It goes into link.note, as a word.
static struct str word_of(struct str ref)
{
    bool plain = ref.n > 0;
    for (size_t i = 0; i < ref.n && plain; i++)
        plain = isalnum((unsigned char)ref.p[i]) || ref.p[i] == '-' || ref.p[i] == '_';
    return plain ? ref : INTERCOM_UNNAMED;
}

// The message is there under `ref`: its text, or what was left of it.
static void set_there(struct intercom *s, struct str ref, uint32_t told)
{
    struct intercom_run *run = s->run;
    if (run->text_there)
        ref = ARENA_JOIN(s->arena, run->note.files_ref, STR(","), word_of(ref));
    else if (intercom_files_left(s))
        ref = word_of(ref);
    run->told |= told;
    run->text_there = true;
    run->note.files_id = s->attempt->message->id;
    run->note.files_ref = ref;
    run->note.files_told = run->told;
}

void intercom_end_there(struct intercom *s, int status)
{
    intercom_end_delivered(s, status, s->run->note.files_ref);
}

void intercom_taken(struct intercom *s, int status, struct str ref)
{
    bool first = !s->run->text_there;
    set_there(s, ref.n ? ref : INTERCOM_UNNAMED, s->run->going);
    if (first && intercom_files_left(s))
        intercom_go_on(s);
    else
        intercom_end_there(s, status);
}

// Finding it -----------------------------------------------------------------------------------------------

void intercom_files_wanted(struct intercom *s, struct intercom_wanted *wanted)
{
    const struct intercom_run *run = s->run;
    struct str text = run->text_there ? STR("") : s->attempt->message->text;
    if (!run->file_count)
        return;
    struct str *tails = arena_alloc(s->arena, (run->file_count * TAILS_PER_FILE + 1) * sizeof *tails);
    wanted->tails = tails;
    for (size_t i = 0; i < run->file_count; i++) {
        struct str names[] = {run->files[i].name, kind_of(&run->files[i])};
        for (size_t n = 0; n < 2; n++) {
            tails[wanted->tail_count++] = names[n];
            tails[wanted->tail_count++] = ARENA_JOIN(s->arena, STR("["), names[n]);
        }
    }
    tails[wanted->tail_count++] = STR("(empty message)");
    wanted->has_tail = !text.n;
    wanted->body = with_speaker(s, text);
    // Without a name it is known by being like what is looked for; a text is not like files.
    if (run->text_there && (!s->attempt->message->text.n || !str_eq(run->note.files_ref, INTERCOM_UNNAMED)))
        wanted->text_ref = run->note.files_ref;
}

static bool holds(struct str squeezed, struct str first, struct str second, struct arena *arena)
{
    struct str needle = intercom_squeezed(ARENA_JOIN(arena, first, second), false, arena);
    return squeezed.n && needle.n && memmem(squeezed.p, squeezed.n, needle.p, needle.n);
}

// Files without words, or behind them, are named in the body. Of several that are called the same, so many as it names.
static bool is_named(struct intercom *s, size_t nth, struct str squeezed)
{
    struct str title = title_of(s, nth);
    struct str name = intercom_squeezed(title, false, s->arena);
    size_t times = 0, before = 0;
    for (size_t i = 0; name.n && i + name.n <= squeezed.n; i++)
        times += memcmp(squeezed.p + i, name.p, name.n) == 0;
    for (size_t i = 0; i < nth; i++)
        before += s->run->files[i].state == FILE_KEPT && str_eq(title_of(s, i), title);
    return times > before;
}

// Whether what stands there has this file, or says of it what there is to say.
static bool shows(struct intercom *s, size_t nth, struct str squeezed, bool has_files)
{
    const struct attachment *file = &s->run->files[nth];
    struct str title = ARENA_JOIN(s->arena, STR("["), title_of(s, nth));
    switch (file->state) {
    case FILE_WANTED:
        return false;
    case FILE_FAILED:
        return holds(squeezed, title, STR(" could not be fetched"), s->arena);
    case FILE_KEPT:
        if (holds(squeezed, title, STR(" follows]"), s->arena))
            return false;
        if (has_files && (s->run->text_there || !s->attempt->message->text.n))
            return is_named(s, nth, squeezed);
        return has_files || holds(squeezed, file->hash, STR(""), s->arena) ||
               (holds(squeezed, title_of(s, nth), STR("("), s->arena) &&
                holds(squeezed, STR("kept at the relay"), STR(""), s->arena));
    case FILE_ELSEWHERE:
        break;
    }
    return true;
}

void intercom_found(struct intercom *s, yyjson_val *said, struct str ref)
{
    struct str squeezed = intercom_squeezed(json_get_str(said, "body"), true, s->arena);
    yyjson_val *list = yyjson_obj_get(said, "attachments");
    bool is_part = str_eq_c(json_get_str(said, "type"), "conversation_part");
    // A part had all that was kept in it; the first message of a conversation may have had its files behind it.
    bool has_files = yyjson_is_arr(list) ? yyjson_arr_size(list) > 0 : is_part;
    uint32_t told = 0;
    for (size_t i = 0; i < s->run->file_count; i++)
        if (shows(s, i, squeezed, has_files))
            told |= bit_of(i);
    set_there(s, ref, told);
}

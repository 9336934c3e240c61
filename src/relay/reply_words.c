#include "relay/reply_words.h"

#include "base/buf.h"
#include "base/must.h"
#include "model/attachment.h"
#include "platform/html_text.h"

#include <string.h>

static void escape(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '<':
            buf_add_str(out, STR("&lt;"));
            break;
        case '&':
            buf_add_str(out, STR("&amp;"));
            break;
        case '"':
            buf_add_str(out, STR("&quot;"));
            break;
        default:
            buf_add_char(out, text.p[i]);
        }
    }
}

static struct str escaped(struct str text, struct arena *arena)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    escape(&buf, text);
    buf_must(&buf);
    struct str out = arena_str(arena, buf_str(&buf));
    buf_done(&buf);
    return out;
}

// An address as it is, and as HTML writes it.
struct written {
    struct str plain, escaped;
};

static bool stands_in(struct str html, const struct written *url)
{
    return memmem(html.p, html.n, url->plain.p, url->plain.n) || memmem(html.p, html.n, url->escaped.p, url->escaped.n);
}

// Images that stand in the text are listed as files, too: the platform's connector makes links of them where they stand.
static void add_link(struct buf *out, const struct attachment *file, struct str said, struct arena *arena)
{
    struct written url = {file->url, escaped(file->url, arena)};
    if (!file->url.n || stands_in(said, &url))
        return;
    buf_add_str(out, STR("<p><a href=\""));
    buf_add_str(out, url.escaped);
    buf_add_str(out, STR("\">"));
    escape(out, file->name.n ? file->name : file->url);
    buf_add_str(out, STR("</a></p>"));
}

// Length of the image that the HTML begins with, 0 when it begins with none. One that does not end takes all there is, as
// everybody reads it: so nothing is looked at twice.
static size_t image(struct str html)
{
    static const char ends[] = " \t\r\n/>";
    if (html.n < 6 || !str_ieq_c(str_sub(html, 0, 4), "<img") || !strchr(ends, html.p[4]))
        return 0;
    char quote = 0;
    for (size_t i = 4; i < html.n; i++) {
        char c = html.p[i];
        if (!quote && c == '>')
            return i + 1;
        if (!quote && (c == '"' || c == '\''))
            quote = c;
        else if (c == quote)
            quote = 0;
    }
    return html.n;
}

static bool is_one_of(struct str image_tag, const struct written *urls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (stands_in(image_tag, &urls[i]))
            return true;
    return false;
}

static struct written *addresses_of(const struct reply_words *words, struct arena *arena)
{
    struct written *urls = arena_alloc(arena, (words->file_count + 1) * sizeof *urls);
    for (size_t i = 0; i < words->file_count; i++)
        urls[i] = (struct written){words->files[i].url, escaped(words->files[i].url, arena)};
    return urls;
}

// An image that goes as a file leaves a blank, as it parted what stood around it.
static void add_without_images(struct buf *out, struct str html, const struct reply_words *words, struct arena *arena)
{
    const struct written *urls = addresses_of(words, arena);
    for (size_t i = 0; i < html.n;) {
        struct str rest = str_sub(html, i, html.n);
        size_t length = words->file_count && rest.p[0] == '<' ? image(rest) : 0;
        if (length && is_one_of(str_sub(rest, 0, length), urls, words->file_count))
            buf_add_char(out, ' ');
        else
            buf_add_str(out, str_sub(rest, 0, length ? length : 1));
        i += length ? length : 1;
    }
}

// The agent's words, and a link for each file that does not go as one. Those that do are set aside in `words`.
static struct str html_of(const struct platform *platform, const struct desk_part *part, struct arena *arena,
                          struct reply_words *words)
{
    struct attachment *files;
    size_t count = attachments_read(part->attachments, arena, &files);
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    words->files = arena_alloc(arena, (count + 1) * sizeof *words->files);
    for (size_t i = 0; i < count; i++)
        if (platform && platform->takes_files && files[i].state == FILE_WANTED)
            words->files[words->file_count++] = files[i];
    add_without_images(&out, part->html, words, arena);
    for (size_t i = 0; i < count; i++)
        if (!platform || !platform->takes_files || files[i].state != FILE_WANTED)
            add_link(&out, &files[i], part->html, arena);
    buf_must(&out);
    struct str html = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return html;
}

void reply_words_make(const struct platform *platform, const struct desk_part *part, struct arena *arena,
                      struct reply_words *out)
{
    *out = (struct reply_words){0};
    struct str html = html_of(platform, part, arena, out);
    if (platform && platform->compose) {
        platform->compose(html, arena, &out->texts, &out->text_count);
        return;
    }
    // Nobody takes it: the message is there to say so.
    struct html_text plain;
    html_text_read(html, arena, &plain);
    out->texts = arena_of(arena, struct reply_text);
    out->texts->text = plain.text;
    out->text_count = 1;
}

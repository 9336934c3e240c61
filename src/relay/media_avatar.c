// Customers' pictures (store.h, struct avatar): the one that is due is asked for at its platform, where that was not done for a day, and
// kept; then the desk's contact is told of it. Each half is one try as of a file (media_fetch.c), and what became of it is stored before the
// next: after a crash it goes on from there. No message knows of this, or waits for it.
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "desk/desk.h"
#include "model/backoff.h"
#include "platform/platform.h"
#include "relay/media_own.h"

#include <string.h>
#include <utlist.h>

enum {
    BATCH = 8,        // at a time: behind what messages wait for
    TRIES = 5,        // then it is left until the customer writes on another day
    PAUSE_MS = 60000, // doubled with each
    PAUSE_CAP_MS = 3600000,
    NOT_NOW_MS = 1000, // until what the committer did not take is asked again
    MAX_SIZE = 5 * 1024 * 1024,
};

static const int64_t longest_us = INT64_C(3600) * 1000000; // of a wait

// ---- which are due ----

static void look_in(struct media *media, int64_t pause_us)
{
    int64_t at_us = media_at_us(media, pause_us);
    if (!media->avatar_at_us || at_us < media->avatar_at_us)
        media->avatar_at_us = at_us;
}

static void begin(struct media *media, const struct due_avatar *due);

// By a clock that was set back since: no pause is so long.
static bool is_due(const struct avatar *avatar, int64_t now_us)
{
    return avatar->due_us <= now_us || avatar->due_us - now_us > longest_us;
}

static void begin_all(struct media *media)
{
    const struct store_avatars *found = &media->avatar_look.avatars;
    int64_t now_us = media_now_us(media);
    for (size_t i = 0; i < found->count; i++) {
        const struct due_avatar *due = &found->due[i];
        if (is_due(&due->avatar, now_us))
            begin(media, due);
        else
            look_in(media, due->avatar.due_us - now_us);
    }
    media->avatar_look_again |= found->count == BATCH && is_due(&found->due[BATCH - 1].avatar, now_us);
}

static void on_looked(struct loop_task *task)
{
    struct media *media = (struct media *)((char *)task - offsetof(struct job, task) -
                                           offsetof(struct media, avatar_look));
    if (media->avatar_look.err)
        look_in(media, (int64_t)NOT_NOW_MS * 1000);
    else if (!media->stopping && !media->rests)
        begin_all(media);
    media->avatar_looking = false;
    media_avatar_ended(media);
}

// One batch at a time: what is under way is due still.
void media_avatars_look(struct media *media)
{
    const struct media_links *links = media->options.links;
    if (media->stopping || media->rests || !links || !links->is_public)
        return;
    media->avatar_look_again = media->avatar_looking || media->avatars;
    if (media->avatar_look_again)
        return;
    arena_done(&media->avatar_arena);
    media->avatar_at_us = 0;
    media->avatar_look = (struct job){.kind = JOB_AVATARS, .task.run = on_looked};
    media->avatar_look.avatars = (struct store_avatars){.limit = BATCH, .arena = &media->avatar_arena};
    media->avatar_looking = media->ports.submit(media->ports.arg, &media->avatar_look);
    if (!media->avatar_looking)
        look_in(media, (int64_t)NOT_NOW_MS * 1000);
}

void media_avatar_ended(struct media *media)
{
    if (media->avatar_look_again && !media->avatars && !media->avatar_looking)
        media_avatars_look(media);
    media_arm(media);
}

// ---- what became of one ----

// What is due at once is looked at behind the others of its batch.
static void look_when_due(struct media *media, const struct avatar *avatar)
{
    int64_t pause_us = avatar->due_us - media_now_us(media);
    if (avatar->due_us && pause_us <= 0)
        media->avatar_look_again = true;
    else if (avatar->due_us)
        look_in(media, pause_us);
}

static bool lost_bytes(const struct media_fetch *fetch)
{
    struct str before = fetch->avatar->avatar.hash;
    return before.p && !str_eq(before, fetch->avatar_outcome.avatar.hash);
}

static void on_stored(struct loop_task *task)
{
    struct media_fetch *fetch = (struct media_fetch *)((char *)task - offsetof(struct job, task));
    struct media *media = fetch->media;
    bool known = !fetch->job.err && fetch->avatar_outcome.applied;
    if (known)
        look_when_due(media, &fetch->avatar_outcome.avatar);
    else
        look_in(media, (int64_t)NOT_NOW_MS * 1000);
    if (fetch->hash[0] && !known)
        media_is_unsure(media, str_of(fetch->hash));
    if (known && lost_bytes(fetch))
        media_look_for_gone(media);
    media_fetch_free(fetch);
    media_avatar_ended(media);
}

static void store(struct media_fetch *fetch, const struct avatar *avatar)
{
    struct media *media = fetch->media;
    fetch->avatar_outcome = (struct store_avatar){.conversation_id = fetch->avatar->conversation_id, .avatar = *avatar};
    fetch->change = (struct store_change){.kind = STORE_AVATAR, .avatar = &fetch->avatar_outcome};
    fetch->job = (struct job){.kind = JOB_CHANGES, .changes = &fetch->change, .change_count = 1};
    fetch->job.task.run = on_stored;
    if (media->ports.submit(media->ports.arg, &fetch->job))
        return;
    if (fetch->hash[0])
        media_is_unsure(media, str_of(fetch->hash));
    look_in(media, (int64_t)NOT_NOW_MS * 1000);
    media_fetch_free(fetch);
    media_avatar_ended(media);
}

// Of what is kept the contact knows nothing, or it shows what is kept no more. (Nothing is taken from a contact that was never told.)
static bool is_to_be_told(const struct avatar *avatar, const struct link *link)
{
    bool knows = avatar->told.p && str_eq(avatar->told, link->contact);
    return avatar->hash.p ? link->contact.n && !knows : knows;
}

// It is so now; nothing more is to be done but to tell it.
static void settle(struct media_fetch *fetch, struct avatar *avatar)
{
    avatar->attempts = 0;
    avatar->due_us = is_to_be_told(avatar, &fetch->avatar->link) ? media_now_us(fetch->media) : 0;
    store(fetch, avatar);
}

// Nobody asks or tells any more, until there is a reason again.
static void leave(struct media_fetch *fetch, struct avatar *avatar)
{
    avatar->due_us = 0;
    store(fetch, avatar);
}

// The contact has been told, or shall not be told again of this.
static struct avatar told(const struct media_fetch *fetch)
{
    struct avatar avatar = fetch->avatar->avatar;
    avatar.told = avatar.hash.p ? fetch->avatar->link.contact : STR_NONE;
    return avatar;
}

static void give_up(struct media_fetch *fetch)
{
    struct avatar avatar = fetch->avatar->avatar;
    if (fetch->tells) {
        avatar = told(fetch);
        avatar.picture = STR_NONE; // on another day it is fetched anew, and told
    } else {
        avatar.asked_us = media_now_us(fetch->media);
    }
    log_info("avatar_given_up", LOG_N("conversation", fetch->avatar->conversation_id),
             LOG_S("account", fetch->account->name), LOG_C("where", fetch->tells ? "desk" : "platform"));
    leave(fetch, &avatar);
}

static void try_later(struct media_fetch *fetch, const struct verdict *verdict)
{
    struct avatar avatar = fetch->avatar->avatar;
    int64_t now_us = media_now_us(fetch->media), wait_us = verdict->until_us - now_us;
    if (++avatar.attempts >= TRIES) {
        give_up(fetch);
        return;
    }
    int64_t pause_us = backoff_pause(PAUSE_MS, PAUSE_CAP_MS, avatar.attempts, &fetch->media->chance) * 1000;
    wait_us = wait_us > pause_us ? wait_us : pause_us;
    avatar.due_us = now_us + (wait_us < longest_us ? wait_us : longest_us);
    store(fetch, &avatar);
}

// ---- the platform was asked ----

static bool is_shown(struct str mime)
{
    return str_eq_c(mime, "image/jpeg") || str_eq_c(mime, "image/png") || str_eq_c(mime, "image/webp") ||
           str_eq_c(mime, "image/gif");
}

// What is no picture by its first bytes counts as none, and is not asked for again.
static int keep(struct media_fetch *fetch, struct avatar *avatar)
{
    struct str mime = STR_NONE;
    int64_t size = 0;
    int err = fetch->media->options.files->ops->keep(fetch->file, fetch->hash, &size, &mime);
    fetch->file = NULL;
    if (err) {
        fetch->hash[0] = 0;
        return err;
    }
    if (is_shown(mime)) {
        avatar->hash = str_of(fetch->hash);
        avatar->mime = mime;
        avatar->size = size;
        avatar->told = STR_NONE;
    } else {
        media_is_unsure(fetch->media, str_of(fetch->hash));
        media_look_for_gone(fetch->media);
    }
    return 0;
}

static void take_new(struct media_fetch *fetch)
{
    struct avatar avatar = {
        .asked_us = media_now_us(fetch->media), .picture = fetch->steps.picture, .told = fetch->avatar->avatar.told};
    int err = fetch->file ? keep(fetch, &avatar) : 0;
    if (err) { // it is due still
        struct media *media = fetch->media;
        media_rest(media, err);
        media_fetch_free(fetch);
        media_avatar_ended(media);
        return;
    }
    settle(fetch, &avatar);
}

static void take_none(struct media_fetch *fetch)
{
    struct avatar avatar = {.asked_us = media_now_us(fetch->media), .told = fetch->avatar->avatar.told};
    settle(fetch, &avatar);
}

static void take_known(struct media_fetch *fetch)
{
    struct avatar avatar = fetch->avatar->avatar;
    avatar.asked_us = media_now_us(fetch->media);
    settle(fetch, &avatar);
}

static void judge_asked(struct media_fetch *fetch, const struct verdict *verdict)
{
    struct str picture = fetch->steps.picture;
    bool answered = verdict->kind == VERDICT_DELIVERED;
    bool known = picture.n && str_eq(picture, fetch->avatar->avatar.picture);
    if (verdict->kind == VERDICT_REJECTED || (answered && known))
        take_known(fetch);
    else if (answered && !picture.n)
        take_none(fetch);
    else if (answered && fetch->has_body)
        take_new(fetch);
    else
        try_later(fetch, verdict);
}

// ---- the desk was told ----

// A contact that is not there, or a picture that the desk does not like: no other answer will come.
static void judge_told(struct media_fetch *fetch, const struct verdict *verdict)
{
    if (verdict->kind == VERDICT_DELIVERED || verdict->kind == VERDICT_REJECTED) {
        struct avatar avatar = told(fetch);
        avatar.attempts = 0;
        leave(fetch, &avatar);
    } else {
        try_later(fetch, verdict);
    }
}

void media_avatar_judged(struct media_fetch *fetch, const struct verdict *verdict)
{
    if (fetch->tells)
        judge_told(fetch, verdict);
    else
        judge_asked(fetch, verdict);
}

// ---- one try ----

static struct str extension_of(struct str mime)
{
    return str_eq_c(mime, "image/jpeg") ? STR("jpg") : str_sub(mime, STR("image/").n, mime.n);
}

static struct str link_of(const struct media_fetch *fetch)
{
    const struct avatar *avatar = &fetch->avatar->avatar;
    struct arena *arena = fetch->steps.arena;
    struct attachment file = {.name = ARENA_JOIN(arena, STR("avatar."), extension_of(avatar->mime)),
                              .mime = avatar->mime,
                              .hash = avatar->hash,
                              .state = FILE_KEPT,
                              .size = avatar->size};
    return media_link_lasting(fetch->media->options.links, &file, arena);
}

// One request to the desk, as a step machine.
struct telling {
    const struct desk_connector *desk;
    struct http_request request;
};

static void tell(struct file_fetch *steps, const struct http_response *last, struct file_step *out)
{
    const struct telling *telling = steps->state;
    if (last)
        *out = (struct file_step){.kind = FILE_END,
                                  .verdict = telling->desk->receiver.probe_verdict(last, steps->now_us, steps->arena)};
    else
        *out = (struct file_step){.kind = FILE_ASK, .trusted = true, .request = telling->request};
}

// False: it is no contact of ours, whatever the customer's picture is.
static bool make_telling(struct media_fetch *fetch)
{
    struct telling *telling = arena_of(&fetch->arena, struct telling);
    struct str url = fetch->avatar->avatar.hash.p ? link_of(fetch) : STR_NONE;
    fetch->steps.state = telling;
    telling->desk = desk_connector_find(fetch->account->desk.platform);
    return telling->desk->show_avatar(&fetch->account->desk, &fetch->avatar->link, url, &fetch->arena,
                                      &telling->request);
}

// Nothing is to be done where the account is gone or at rest, or where whose conversation it is cannot be told.
static bool is_ours(struct media_fetch *fetch)
{
    const struct account *account = fetch->account;
    const struct desk_connector *desk = account ? desk_connector_find(account->desk.platform) : NULL;
    const struct source *source = account ? account_find_source_id(account, fetch->avatar->source_id) : NULL;
    const struct platform *platform = source ? platform_find(source->platform) : NULL;
    fetch->steps.source = source;
    return account && account->active && desk && desk->show_avatar && platform && platform->fetch_avatar &&
           fetch->avatar->thread.p;
}

static void pass_over(struct media_fetch *fetch)
{
    struct avatar avatar = told(fetch);
    avatar.asked_us = media_now_us(fetch->media);
    leave(fetch, &avatar);
}

static void begin_one(struct media_fetch *fetch)
{
    struct avatar *avatar = &fetch->avatar->avatar;
    bool ours = is_ours(fetch), shown = ours && make_telling(fetch);
    if (ours && !shown) {
        pass_over(fetch);
    } else if (shown && avatar_is_old(avatar->asked_us, media_now_us(fetch->media))) {
        fetch->step = platform_find(fetch->steps.source->platform)->fetch_avatar;
        media_fetch_start(fetch);
    } else if (shown && is_to_be_told(avatar, &fetch->avatar->link)) {
        fetch->tells = true;
        fetch->step = tell;
        media_fetch_start(fetch);
    } else {
        leave(fetch, avatar);
    }
}

static struct due_avatar *copy_in(struct arena *arena, const struct due_avatar *due)
{
    struct due_avatar *copy = arena_of(arena, struct due_avatar);
    *copy = *due;
    copy->thread = arena_str(arena, due->thread);
    copy->link = (struct link){.contact = arena_str(arena, due->link.contact),
                               .conversation = arena_str(arena, due->link.conversation),
                               .last_part = arena_str(arena, due->link.last_part),
                               .note = arena_str(arena, due->link.note)};
    copy->avatar.picture = arena_str(arena, due->avatar.picture);
    copy->avatar.hash = arena_str(arena, due->avatar.hash);
    copy->avatar.mime = arena_str(arena, due->avatar.mime);
    copy->avatar.told = arena_str(arena, due->avatar.told);
    return copy;
}

static void begin(struct media *media, const struct due_avatar *due)
{
    struct media_fetch *fetch = mem_new_of(struct media_fetch);
    int64_t max_size = media->options.max_size;
    fetch->media = media;
    fetch->avatar = copy_in(&fetch->arena, due);
    fetch->account = directory_find_id(media->options.directory, due->account_id);
    DL_APPEND(media->avatars, fetch);
    fetch->steps = (struct file_fetch){.account = fetch->account,
                                       .max_size = max_size < MAX_SIZE ? max_size : MAX_SIZE,
                                       .thread = fetch->avatar->thread,
                                       .known_picture = fetch->avatar->avatar.picture,
                                       .arena = &fetch->arena};
    begin_one(fetch);
}

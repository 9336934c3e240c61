// See media.h. One try at one file: media_fetch.c.
#include "relay/media.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "relay/media_own.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_FETCHES = 16,          // at a time
    MOST_OF_ACCOUNT = 4,        // of those
    PAGE = 256,                 // files that are asked of the store together
    LOOK_PAUSE_MS = 250,        // between looks, where more is due than was asked for
    REST_MS = 30000,            // while there is no room
    NOT_NOW_MS = 1000,          // until what the committer did not take is asked again
    LOOK_CAP_MS = 600000,       // a look is never further away while anything waits: the wall clock may be set
    LONGEST_PAUSE_MS = 3600000, // before a file is tried again (who asks for time gets an hour at most)
    GONE_EVERY_MS = 600000,     // between looks for bytes that no message has any more
    GONE_PAGE = 256,            // of those at a time
};

int64_t media_now_us(const struct media *media)
{
    return clock_wall_us(media->options.clock);
}

int64_t media_mono_us(const struct media *media)
{
    return clock_mono_us(media->options.clock);
}

struct media *media_new(const struct media_options *options, const struct media_ports *ports)
{
    struct media *media = mem_new_of(struct media);
    media->options = *options;
    media->ports = *ports;
    chance_init(&media->chance, options->seed);
    return media;
}

static void forget_unsure(struct media *media)
{
    for (size_t i = 0; i < media->unsure_count; i++)
        free((char *)media->unsure[i].p);
    free(media->unsure);
    media->unsure = NULL;
    media->unsure_count = media->unsure_size = 0;
}

void media_free(struct media *media)
{
    if (!media)
        return;
    must(!media->fetches && !media->looking && !media->asking_gone);
    must(!media->avatars && !media->avatar_looking);
    forget_unsure(media);
    arena_done(&media->avatar_arena);
    arena_done(&media->page_arena);
    arena_done(&media->gone_arena);
    free(media);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return !a || (b && b < a) ? b : a;
}

static void arm(struct media *media)
{
    int64_t at_us = media->stopping ? 0 : earlier(media->look_at_us, media->asking_gone ? 0 : media->gone_at_us);
    if (!media->stopping)
        at_us = earlier(at_us, media->avatar_at_us);
    if (media->rests && !media->stopping)
        at_us = earlier(at_us, media->rest_until_us);
    media->ports.arm(media->ports.arg, at_us);
}

static void check_stopped(struct media *media)
{
    if (!media->stopping || media->told_stopped || media->fetches || media->looking || media->asking_gone ||
        media->avatars || media->avatar_looking)
        return;
    media->told_stopped = true;
    media->ports.stopped(media->ports.arg);
}

void media_arm(struct media *media)
{
    arm(media);
    check_stopped(media);
}

static bool submit(struct media *media, struct job *job, void (*run)(struct loop_task *task))
{
    job->task.run = run;
    return media->ports.submit(media->ports.arg, job);
}

static struct media *media_of(struct loop_task *task, size_t job_offset)
{
    return (struct media *)((char *)task - offsetof(struct job, task) - job_offset);
}

// ---- what is fetched next ----

static bool is_under_way(const struct media *media, const struct wanted_file *wanted)
{
    const struct media_fetch *fetch = media->fetches;
    while (fetch && !(fetch->wanted.message_id == wanted->message_id && fetch->wanted.nth == wanted->nth))
        fetch = fetch->next;
    return fetch != NULL;
}

static int of_account(const struct media *media, int64_t account_id)
{
    int count = 0;
    for (const struct media_fetch *fetch = media->fetches; fetch; fetch = fetch->next)
        count += fetch->wanted.account_id == account_id;
    return count;
}

static bool has_slots(const struct media *media)
{
    return !media->stopping && !media->rests && media->fetch_count < MOST_FETCHES;
}

int64_t media_at_us(const struct media *media, int64_t pause_us)
{
    int64_t cap_us = (int64_t)LOOK_CAP_MS * 1000;
    return media_mono_us(media) + (pause_us < 0 ? 0 : pause_us < cap_us ? pause_us : cap_us);
}

static void look_in(struct media *media, int64_t pause_us)
{
    media->look_at_us = earlier(media->look_at_us, media_at_us(media, pause_us));
}

void media_ask_later(struct media *media)
{
    look_in(media, (int64_t)NOT_NOW_MS * 1000);
    arm(media);
}

// Begins what may begin of the page, the first ones first. True: some of it waits for a place.
static bool begin_some(struct media *media)
{
    bool waits = false;
    for (size_t i = 0; i < media->page_count; i++) {
        struct wanted_file *wanted = &media->page[i];
        if (!wanted->message_id)
            continue;
        if (!has_slots(media) || of_account(media, wanted->account_id) >= MOST_OF_ACCOUNT) {
            waits = true;
            continue;
        }
        struct wanted_file next = *wanted;
        wanted->message_id = 0;
        media_fetch_begin(media, &next);
    }
    return waits;
}

// The accounts that have enough under way: the store passes theirs over. How many there are.
static int find_full(const struct media *media, int64_t out[WANTED_NOT_OF])
{
    int count = 0;
    _Static_assert(MOST_FETCHES / MOST_OF_ACCOUNT <= WANTED_NOT_OF, "there is a place for each");
    for (const struct media_fetch *fetch = media->fetches; fetch; fetch = fetch->next) {
        bool known = false;
        for (int i = 0; i < count; i++)
            known = known || out[i] == fetch->wanted.account_id;
        if (!known && of_account(media, fetch->wanted.account_id) >= MOST_OF_ACCOUNT)
            out[count++] = fetch->wanted.account_id;
    }
    return count;
}

// A page that one account fills hides others behind it.
static bool hides_others(const struct media *media)
{
    int64_t full[WANTED_NOT_OF];
    int before = 0;
    while (before < WANTED_NOT_OF && media->look.files.not_of[before])
        before++;
    bool more = media->look.files.due_us && media->look.files.due_us <= media_now_us(media);
    return more && has_slots(media) && find_full(media, full) > before;
}

static void ask(struct media *media);
static void ask_for_others(struct media *media);
static void look(struct media *media);

// By a clock that was set back since: no pause is so long.
static bool is_due(const struct wanted_file *wanted, int64_t now_us)
{
    return wanted->next_attempt_us <= now_us || wanted->next_attempt_us - now_us > (int64_t)LONGEST_PAUSE_MS * 1000;
}

// What is not due yet, or being fetched, is taken off the page; when there is something to do next is noted.
static void sort_page(struct media *media)
{
    int64_t now_us = media_now_us(media);
    for (size_t i = 0; i < media->page_count; i++) {
        struct wanted_file *wanted = &media->page[i];
        if (is_under_way(media, wanted)) {
            wanted->message_id = 0;
        } else if (!is_due(wanted, now_us)) {
            look_in(media, wanted->next_attempt_us - now_us);
            wanted->message_id = 0;
        }
    }
    if (media->look.files.due_us > now_us)
        look_in(media, media->look.files.due_us - now_us);
    else if (media->look.files.due_us)
        media->look_not_before_us = media_mono_us(media) + (int64_t)LOOK_PAUSE_MS * 1000;
}

// The answer's files behind what is left of the page.
static void take_page(struct media *media)
{
    const struct store_wanted *found = &media->look.files;
    size_t left = 0, count = media->look.err ? 0 : found->count;
    struct wanted_file *page = arena_alloc(&media->page_arena, (media->page_count + count + 1) * sizeof *page);
    for (size_t i = 0; i < media->page_count; i++)
        if (media->page[i].message_id)
            page[left++] = media->page[i];
    for (size_t i = 0; i < count; i++)
        page[left + i] = found->files[i];
    media->page = page;
    media->page_count = left + count;
}

static void on_looked(struct loop_task *task)
{
    struct media *media = media_of(task, offsetof(struct media, look));
    media->looking = false;
    if (media->look.err && !media->stopping)
        media_ask_later(media);
    take_page(media);
    sort_page(media);
    begin_some(media);
    if (hides_others(media))
        ask_for_others(media);
    else if (media->look_again && has_slots(media))
        look(media);
    arm(media);
    check_stopped(media);
}

// What is left of the page is of accounts that have enough under way, and not asked for: it goes when theirs have ended.
static void ask_for_others(struct media *media)
{
    media->look = (struct job){.kind = JOB_FILES};
    media->look.files.limit = PAGE;
    media->look.files.arena = &media->page_arena;
    find_full(media, media->look.files.not_of);
    media->looking = submit(media, &media->look, on_looked);
    if (!media->looking)
        media_ask_later(media);
}

// A page takes the place of the one before: what is not under way is in it once more.
static void ask(struct media *media)
{
    arena_done(&media->page_arena);
    media->page = NULL;
    media->page_count = 0;
    media->look_at_us = 0;
    ask_for_others(media);
}

static void look(struct media *media)
{
    int64_t early_us = media->look_not_before_us - media_mono_us(media);
    media->look_again = media->looking || !has_slots(media);
    if (!media->look_again && early_us > 0)
        look_in(media, early_us);
    else if (!media->look_again)
        ask(media);
}

void media_fetched(struct media *media)
{
    if (!media->stopping && !begin_some(media))
        look(media);
    arm(media);
    check_stopped(media);
}

void media_has_more(struct media *media, int64_t account_id, int64_t bytes)
{
    for (size_t i = 0; i < media->page_count; i++)
        if (media->page[i].account_id == account_id)
            media->page[i].account_bytes += bytes;
}

// ---- no room ----

void media_rest(struct media *media, int err)
{
    media->rests = true;
    media->rest_until_us = media_mono_us(media) + (int64_t)REST_MS * 1000;
    board_alarm(
        media->options.board, "files_full", STR(""),
        err == ERR_FULL
            ? STR("there is too little room on the disk for files of messages: they are fetched when there is, and "
                  "messages go on without them")
            : STR("the disk does not take files of messages: they are fetched when it does, and messages go on "
                  "without them"));
}

static void try_room(struct media *media)
{
    int err = ERR_IO;
    struct media_file *file = media->options.files->ops->begin(media->options.files, &err);
    if (!file) {
        media_rest(media, err);
        return;
    }
    media->options.files->ops->drop(file);
    media->rests = false;
    board_alarm_end(media->options.board, "files_full", STR(""));
    look(media);
    media_avatars_look(media);
}

// ---- bytes that no message has any more ----

void media_is_unsure(struct media *media, struct str hash)
{
    if (media->unsure_count == media->unsure_size) {
        media->unsure_size = media->unsure_size ? 2 * media->unsure_size : GONE_PAGE;
        media->unsure = mem_resize(media->unsure, media->unsure_size * sizeof *media->unsure);
    }
    media->unsure[media->unsure_count++] = (struct str){mem_dup(hash.p, hash.n), hash.n};
}

// Being fetched: the store is about to hear of it.
static bool is_to_be_known(const struct media *media, struct str hash)
{
    const struct media_fetch *lists[] = {media->fetches, media->avatars};
    for (int i = 0; i < 2; i++)
        for (const struct media_fetch *fetch = lists[i]; fetch; fetch = fetch->next)
            if (str_eq_c(hash, fetch->hash))
                return true;
    return false;
}

static void remove_gone(struct media *media)
{
    struct media_files *files = media->options.files;
    for (size_t i = 0; i < media->files_gone.count; i++) {
        struct str hash = media->files_gone.hashes[i];
        if (is_to_be_known(media, hash))
            continue;
        int err = files->ops->remove(files, hash);
        if (err && err != ERR_NOT_FOUND)
            log_warn("file_not_removed", LOG_S("file", hash), LOG_C("error", err_name(err)));
    }
}

// The question was not answered.
static void keep_unsure(struct media *media)
{
    for (size_t i = 0; i < media->files_gone.asked_count; i++)
        media_is_unsure(media, media->files_gone.asked[i]);
}

static void on_gone(struct loop_task *task)
{
    struct media *media = media_of(task, offsetof(struct media, gone));
    bool more = !media->gone.err &&
                (media->files_gone.more || media->unsure_count || media->parts_read < MEDIA_FILES_PARTS);
    media->asking_gone = false;
    if (media->gone.err)
        keep_unsure(media);
    else
        remove_gone(media);
    media->gone_at_us = media_mono_us(media) + (more ? 0 : (int64_t)GONE_EVERY_MS * 1000);
    arena_done(&media->gone_arena);
    arm(media);
    check_stopped(media);
}

static void is_there(void *arg, struct str hash, int64_t size)
{
    (void)size;
    media_is_unsure(arg, hash);
}

// A process that ended between a file and its row left bytes that no row tells of. The files that are there are asked about part by part: never
// the names of all of them are in memory.
static void read_on(struct media *media)
{
    struct media_files *files = media->options.files;
    int unread = 0;
    while (media->unsure_count < GONE_PAGE && media->parts_read < MEDIA_FILES_PARTS) {
        int err = files->ops->each_in(files, media->parts_read++, is_there, media);
        unread = err ? err : unread;
    }
    if (unread)
        log_warn("files_unread", LOG_C("error", err_name(unread)));
}

// Those of which it is not known go with the question, some at a time.
static void take_unsure(struct media *media)
{
    size_t count = media->unsure_count < GONE_PAGE ? media->unsure_count : GONE_PAGE;
    struct str *asked = arena_alloc(&media->gone_arena, (count + 1) * sizeof *asked);
    for (size_t i = 0; i < count; i++) {
        struct str hash = media->unsure[--media->unsure_count];
        asked[i] = arena_str(&media->gone_arena, hash);
        free((char *)hash.p);
    }
    media->files_gone.asked = asked;
    media->files_gone.asked_count = count;
}

static void ask_gone(struct media *media)
{
    if (media->asking_gone || media->stopping)
        return;
    media->files_gone = (struct store_files_gone){.limit = GONE_PAGE, .arena = &media->gone_arena};
    read_on(media);
    take_unsure(media);
    media->gone_change = (struct store_change){.kind = STORE_FILES_GONE, .files_gone = &media->files_gone};
    media->gone = (struct job){.kind = JOB_CHANGES, .changes = &media->gone_change, .change_count = 1};
    media->asking_gone = submit(media, &media->gone, on_gone);
    if (media->asking_gone)
        return;
    keep_unsure(media);
    arena_done(&media->gone_arena);
    media->gone_at_us = media_mono_us(media) + (int64_t)NOT_NOW_MS * 1000;
}

void media_look_for_gone(struct media *media)
{
    media->gone_at_us = media_mono_us(media);
    arm(media);
}

// ---- events from outside ----

void media_start(struct media *media)
{
    ask_gone(media);
    look(media);
    media_avatars_look(media);
    arm(media);
}

void media_poke(struct media *media)
{
    look(media);
    media_avatars_look(media);
    arm(media);
}

void media_tick(struct media *media)
{
    int64_t now_us = media_mono_us(media);
    if (media->stopping)
        return;
    if (media->rests && media->rest_until_us <= now_us)
        try_room(media);
    if (media->look_at_us && media->look_at_us <= now_us) {
        media->look_at_us = 0;
        look(media);
    }
    if (media->gone_at_us && media->gone_at_us <= now_us)
        ask_gone(media);
    if (media->avatar_at_us && media->avatar_at_us <= now_us) {
        media->avatar_at_us = 0;
        media_avatars_look(media);
    }
    arm(media);
}

void media_stop(struct media *media)
{
    media->stopping = true;
    media->page_count = 0;
    media_fetches_cancel(media);
    arm(media);
    check_stopped(media);
}

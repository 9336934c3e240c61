// What the sink keeps of the messages that came: which of each lane, what came twice, what came late, how long it took. One book a
// program; mark.h says what a message is known by.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// Takes a delivery down. Its lane's number, or UINT32_MAX when there is no readable mark in it.
uint32_t book_message(const char *body, size_t n);

void book_malformed(void);
void book_misplaced(void); // a message in a conversation of the desk that is another lane's

// Lines of "lane count": the serials 1..count of the lane must have come. False: something else stands there.
bool book_expect(const char *body, size_t n);

// Latencies are counted anew, those of lanes from this number on apart.
void book_split(uint32_t lane);

void book_reset(void);

// Members of a JSON object, without its braces; sink.c says what they are. The whole book costs a look at every serial, the progress
// nothing: so it may be asked for while messages come.
void book_print(FILE *out);
void book_print_progress(FILE *out);

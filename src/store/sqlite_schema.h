// The tables of the SQLite back end and their migrations.
#pragma once
#include "store/sql.h"

// Brings the schema up to date. ERR_INVALID: another program's database; ERR_REFUSED: made by a newer version
// of ours.
ERR_CHECK int sqlite_schema_migrate(struct sql *sql);
int sqlite_schema_newest(void);

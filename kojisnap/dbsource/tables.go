package dbsource

import (
	"slices"
	"strings"

	"kojisnap/kojisnap/relation"
)

// Class says what becomes of a table of Koji's.
type Class string

// The classes of tables.
const (
	Wanted  Class = "wanted"  // the catalogue has it: some of its columns are read
	Refused Class = "refused" // it holds secrets, or what is of no business of staging's: never read
	Ignored Class = "ignored" // Koji's, and of no use in staging: tasks, buildroots, repos
	Unknown Class = "unknown" // no table of Koji's that kojisnap knows: a plugin's, the site's, or a newer Koji's
)

// refused are the tables that no code of kojisnap ever reads, by what they hold.
var refused = []string{
	"sessions",                              // session keys
	"user_krb_principals",                   // who people are elsewhere
	"user_perms", "user_groups", "cg_users", // grants
	"build_reservations",                               // tokens
	"build_notifications", "build_notifications_block", // mail addresses
}

// ignored are the other tables that Koji 1.21 to 1.37 have, and that a snapshot does not.
var ignored = []string{
	"event_labels", "task", "host", "host_config", "host_channels", "buildroot", "standard_buildroot",
	"buildroot_tools_info", "buildroot_listing", "buildroot_archives", "repo", "repo_queue", "external_repo_data",
	"tag_updates", "proton_queue", "locks",
	"scheduler_task_runs", "scheduler_host_data", "scheduler_sys_data", "scheduler_task_refusals", "scheduler_log_messages",
	"imageinfo", "imageinfo_listing", "image_listing", // of Koji before 1.8, which old databases still have
}

// Classify says what becomes of a table of Koji's schema.
func Classify(table string) Class {
	switch {
	case slices.Contains(refused, table):
		return Refused
	case relation.Get(table) != nil:
		return Wanted
	case slices.Contains(ignored, table), strings.HasPrefix(table, "scheduler_"):
		return Ignored
	}
	return Unknown
}

// WantedColumns returns the columns of a table that a Source may read, nil for none: those of the catalogue, which
// has no column that holds a secret.
func WantedColumns(table string) []string {
	if Classify(table) != Wanted {
		return nil
	}
	return relation.Get(table).ColumnNames()
}

// WantedTables returns the tables of which a Source may read columns. It may lack those of optional relations.
func WantedTables() (names []string) {
	for _, rel := range slices.Concat(relation.All(), relation.Optional()) {
		names = append(names, rel.Name)
	}
	return names
}

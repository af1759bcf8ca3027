package dbsource

import (
	"fmt"
	"slices"

	"kojisnap/kojisnap/relation"
)

// tablesSince are the tables that came with a Koji release.
var tablesSince = []struct {
	table string
	since relation.Release
}{
	{"proton_queue", 23}, {"rpm_checksum", 32}, {"locks", 33}, {"scheduler_task_runs", 34}, {"repo_queue", 35}, {"external_repo_data", 35},
}

// oldest is the oldest Koji release that kojisnap knows.
const oldest relation.Release = 21

// proveRelease returns the newest Koji release, as a version, that tables and columns prove. Releases that changed
// neither are not told from the one before.
func proveRelease(d *Description) (string, error) {
	proven := oldest
	for _, rel := range relation.All() {
		columns := d.Columns[rel.Name]
		if len(columns) == 0 {
			return "", fmt.Errorf("the %s has no table %s: is it a Koji database?", d.Kind, rel.Name)
		}
		for _, c := range rel.Columns {
			if c.Since > proven && slices.Contains(columns, c.Name) {
				proven = c.Since
			}
		}
	}
	for _, t := range tablesSince {
		if t.since > proven && slices.ContainsFunc(d.Tables, func(of Table) bool { return of.Name == t.table }) {
			proven = t.since
		}
	}
	return proven.String(), nil
}

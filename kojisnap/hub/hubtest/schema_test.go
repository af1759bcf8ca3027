package hubtest_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"kojisnap/kojisnap/hub/hubtest/kojiprod"
)

// oldRows are the rows of kojiprod without the tables and columns that Koji 1.21 did not have.
func oldRows(t *testing.T) fs.FS {
	t.Helper()
	later := map[string][]string{
		"build": {"draft", "promotion_time", "promoter"}, "rpminfo": {"draft"}, "permissions": {"description"},
		"channels": {"description", "enabled", "comment"}, "tag_external_repos": {"arches"}, "archivetypes": {"compression_type"},
		"repo": {"creation_time", "state_time", "begin_event", "end_event", "opts", "custom_opts", "task_id"},
		"host": {"update_time"},
	}
	old := fstest.MapFS{}
	names, err := fs.Glob(kojiprod.Rows(), "*.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		table := strings.TrimSuffix(name, ".tsv")
		if slices.Contains([]string{"rpm_checksum", "repo_queue", "external_repo_data", "locks"}, table) || strings.HasPrefix(table, "scheduler") {
			continue
		}
		text, err := fs.ReadFile(kojiprod.Rows(), name)
		if err != nil {
			t.Fatal(err)
		}
		old[name] = &fstest.MapFile{Data: withoutColumns(string(text), later[table])}
	}
	return old
}

func withoutColumns(text string, drop []string) []byte {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	header := strings.Split(lines[0], "\t")
	var out strings.Builder
	for _, line := range lines {
		var kept []string
		for i, field := range strings.Split(line, "\t") {
			if !slices.Contains(drop, header[i]) {
				kept = append(kept, field)
			}
		}
		out.WriteString(strings.Join(kept, "\t") + "\n")
	}
	return []byte(out.String())
}

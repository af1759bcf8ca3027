package hubtest_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
)

func mutate(t testing.TB, m *hubtest.Memory, opts generate.MutatorOptions, steps int) (did []string) {
	t.Helper()
	mutator, err := generate.NewMutator(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	for range steps {
		what, err := mutator.Step()
		if err != nil {
			t.Fatalf("seed %d, after %q: %v", opts.Seed, did[max(0, len(did)-3):], err)
		}
		did = append(did, what)
	}
	return did
}

func TestMutatorKeepsConstraints(t *testing.T) {
	for name, test := range map[string]struct {
		src   *hubtest.Memory
		opts  generate.MutatorOptions
		steps int
	}{
		"production": {rows(t), generate.MutatorOptions{Seed: 5}, 700},
		"generated":  {makeHub(t, generate.Options{Seed: 5, Builds: 30, Outside: 2}), generate.MutatorOptions{Seed: 6, Tags: []string{"f42", "f42-updates"}}, 700},
	} {
		t.Run(name, func(t *testing.T) {
			before, err := test.src.Select("events", nil)
			if err != nil {
				t.Fatal(err)
			}
			did := mutate(t, test.src, test.opts, test.steps)
			conn := copyInto(t, test.src)
			last := before[len(before)-1]["id"]
			for _, check := range []struct {
				what, sql string
				low, high float64
			}{
				{"new events", "SELECT count(*) - $1 FROM events", 100, 5000},
				{"events out of order", "SELECT count(*) - $1 * 0 FROM events a JOIN events b ON b.id > a.id AND b.id < a.id + 9 WHERE a.time >= b.time AND a.id > $1", 0, 0},
				{"revoked before made", "SELECT count(*) - $1 * 0 FROM tag_listing WHERE revoke_event <= create_event AND create_event > $1", 0, 0},
				{"deleted builds that are signed", `SELECT count(*) - $1 * 0 FROM build b JOIN rpminfo r ON r.build_id = b.id JOIN rpmsigs ON rpm_id = r.id
					WHERE state = 2 AND create_event > $1`, 0, 0},
				{"active listings of builds that are not complete", `SELECT count(*) - $1 * 0 FROM tag_listing l JOIN build b ON b.id = build_id
					WHERE l.active AND state <> 1 AND l.create_event > $1`, 0, 0},
				{"overlapping listings", `SELECT count(*) - $1 * 0 FROM tag_listing a JOIN tag_listing b USING (build_id, tag_id)
					WHERE a.create_event < b.create_event AND (a.revoke_event IS NULL OR a.revoke_event > b.create_event) AND b.create_event > $1`, 0, 0},
				{"overlapping package entries", `SELECT count(*) - $1 * 0 FROM tag_packages a JOIN tag_packages b USING (package_id, tag_id)
					WHERE a.create_event < b.create_event AND (a.revoke_event IS NULL OR a.revoke_event > b.create_event) AND b.create_event > $1`, 0, 0},
				{"tag_updates of volume moves", "SELECT count(*) - $1 * 0 FROM tag_updates WHERE update_type = 0 AND update_event > $1", 1, 100},
				{"promoted builds", "SELECT count(*) - $1 * 0 FROM build WHERE promotion_time IS NOT NULL AND NOT draft AND create_event > $1", 1, 100},
			} {
				var got float64
				if err := conn.QueryRow(t.Context(), check.sql, last).Scan(&got); err != nil {
					t.Fatalf("%s: %v", check.what, err)
				}
				if got < check.low || got > check.high {
					t.Errorf("%s: got %v, want %v to %v", check.what, got, check.low, check.high)
				}
			}
			for _, kind := range []string{`^tagged`, `^untagged`, `^moved .* from .* to`, `^retagged`, `blocked is true`, `blocked is false`,
				`^new build`, `^new draft build`, `^promoted`, `^deleted build`, `^reset`, `^signed`, `^removed the signature`, `to volume`,
				`^tag .* is renamed`, `^users .* is renamed`, `^build_target .* is renamed`, `^external_repo .* is renamed`, `'s$`,
				`owner of build`, `in group|to group`, `^edited how`, ` inherits from `, `^a transaction began`, `^the import of event`, `^the untagging of event`, `^recycled build`, `needs group`, `^channels .* is renamed`, `^deleted tag`,
				`^new tag`, `^edited tag`, `^imported rpm`, `^started build`, `^build .* ended`, `^extra`} {
				re := regexp.MustCompile(kind)
				if !slices.ContainsFunc(did, re.MatchString) {
					t.Errorf("no step was like %s", kind)
				}
			}
		})
	}
}

// The hub answers the same from changed columns and from PostgreSQL.
func TestMutatedAnswers(t *testing.T) {
	m := makeHub(t, generate.Options{Seed: 9, Builds: 40, Outside: 1})
	mutate(t, m, generate.MutatorOptions{Seed: 9, Tags: []string{"f42", "f42-compose"}}, 250)
	compareAnswers(t, m)
}

func TestMutatorIsItsSeed(t *testing.T) {
	run := func(seed uint64) ([]string, map[string]string) {
		m := rows(t)
		did := mutate(t, m, generate.MutatorOptions{Seed: seed}, 60)
		return did, fingerprint(t, m)
	}
	did, rows := run(1)
	again, same := run(1)
	equal(t, "the same seed's steps", again, did)
	equal(t, "the same seed's rows", same, rows)
	if other, _ := run(2); slices.Equal(other, did) {
		t.Error("another seed does the same")
	}
}

// A transaction that commits late brings an event below those that were seen.
func TestMutatorCommitsLate(t *testing.T) {
	m := rows(t)
	mutator, err := generate.NewMutator(m, generate.MutatorOptions{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	highest := func() (id int64, all map[any]bool) {
		events, err := m.Select("events", nil)
		if err != nil {
			t.Fatal(err)
		}
		all = map[any]bool{}
		for _, e := range events {
			all[e["id"]] = true
			id = max(id, e["id"].(int64))
		}
		return id, all
	}
	late := 0
	seen, before := highest()
	for range 300 {
		if _, err := mutator.Step(); err != nil {
			t.Fatal(err)
		}
		now, all := highest()
		for id := range all {
			if !before[id] && id.(int64) < seen {
				late++
			}
		}
		seen, before = now, all
	}
	if late == 0 {
		t.Error("no event came late")
	}
}

func TestMutatorWhileServed(t *testing.T) {
	m := rows(t)
	url := serve(t, hubtest.New(m, hubtest.Options{}))
	mutator, err := generate.NewMutator(m, generate.MutatorOptions{Seed: 4, Tags: []string{"f42"}})
	if err != nil {
		t.Fatal(err)
	}
	stepped := make(chan error)
	go func() {
		defer close(stepped)
		for range 40 {
			_, err := mutator.Step()
			stepped <- err
		}
	}()
	for err := range stepped {
		if err != nil {
			t.Fatal(err)
		}
		// If a step adds an event and rows that refer to it, a request sees both or neither.
		got := call(t, url, "queryHistory", named("tables", "<array><data><value><string>tag_listing</string></value></data></array>"))
		if n := len(members(t, got, "create_event")); n != len(members(t, got, "create_ts")) || strings.Contains(got, "<name>create_ts</name>\n<value><nil/>") {
			t.Fatal("a row without its event")
		}
	}
	if _, err := generate.NewMutator(m, generate.MutatorOptions{Tags: []string{"no such tag"}}); err == nil {
		t.Error("a tag that is not there is no error")
	}
}

func BenchmarkMutator(b *testing.B) {
	mutator, err := generate.NewMutator(scaled(b), generate.MutatorOptions{Seed: 1, Tags: []string{"f42"}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := mutator.Step(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

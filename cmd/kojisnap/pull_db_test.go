package main

import (
	"encoding/json"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/pull"
)

// unreachable is a hub that nobody serves: it only names the production.
const unreachable = "http://127.0.0.1:1/kojihub"

// TestPullFromDB: pull --from-db makes a snapshot without the hub, accounts for each table, and says on standard error
// nothing unless asked; a second one has nothing new.
func TestPullFromDB(t *testing.T) {
	dsn, store := dbtest.Production(t), t.TempDir()
	args := []string{"pull", "--hub", unreachable, "--from-db", dsn, "--tag", "f42-infra", "--store", store}
	out, errs, code := kojisnapRun(t, append(args, "--dry-run", "--event", "419")...)
	if code != exit.NotReady || !strings.Contains(out, "tables of the database: 39 wanted, 8 refused, 21 ignored, 0 unknown") || errs != "" {
		t.Errorf("dry run: %d, %q, %q", code, out, errs)
	}
	out, errs, code = kojisnapRun(t, append(args, "--json", "--event", "419", "-v")...)
	var r pull.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		t.Fatalf("%d, %v, %q, %q", code, err, out, errs)
	}
	if s := r.Source; s == nil || s.Kind != "database" || s.Wanted != 39 || s.Refused != 8 || s.Ignored != 21 || s.Unknown != 0 || len(s.Tables) != 68 {
		t.Errorf("source: %+v", s)
	}
	if r.Hub != unreachable || r.Koji != "1.35" || r.Rows["rpminfo"] == 0 || r.Asked.Requests != 0 || r.Asked.Rows == 0 {
		t.Errorf("result: %+v", r)
	}
	if !strings.Contains(errs, "reading production's database") {
		t.Errorf("standard error: %q", errs)
	}
	if again := kojisnapOK(t, append(args, "--event", "419")...); strings.TrimSpace(again) != r.Snapshot {
		t.Errorf("pulled again: %q, want %s", again, r.Snapshot)
	}
	newer := kojisnapOK(t, append(args, "--jobs", "1")...)
	if !strings.HasPrefix(newer, "4") {
		t.Errorf("the last event before the margin: %q", newer)
	}
}

// TestPullFromDBRefused: each way to ask for the wrong thing has its exit code and names what would change it; no
// message has the password of a DSN.
func TestPullFromDBRefused(t *testing.T) {
	dsn := dbtest.Production(t)
	marked := dbtest.Production(t)
	dbtest.Exec(t, marked, "CREATE SCHEMA kojisnap; CREATE TABLE kojisnap.mark ()")
	bare := dbtest.Production(t)
	dbtest.Exec(t, bare, "DROP ROLE IF EXISTS kojisnap_bare; CREATE ROLE kojisnap_bare LOGIN")
	t.Cleanup(func() { dbtest.Exec(t, bare, "DROP ROLE kojisnap_bare") })
	asBare := strings.Replace(bare, "postgres@", "kojisnap_bare:canary@", 1)
	config := filepath.Join(t.TempDir(), "kojisnap.toml")
	write(t, config, "db = \""+dsn+"\"\n")
	empty := dbtest.Empty(t)
	for _, test := range []struct {
		name string
		code int
		says string
		args []string
	}{
		{"no hub", exit.Usage, "--hub", []string{"--from-db", dsn}},
		{"a flag of hubs", exit.Usage, "--sweep is for hubs", []string{"--hub", unreachable, "--from-db", dsn, "--sweep", "3"}},
		{"no DSN", exit.Usage, "neither keywords", []string{"--hub", unreachable, "--from-db", "canary canary"}},
		{"a bad port", exit.Usage, "port", []string{"--hub", unreachable, "--from-db", "postgres://u:canary@h:x/d"}},
		{"a staging", exit.Usage, "marked as staging", []string{"--hub", unreachable, "--from-db", marked}},
		{"this staging", exit.Usage, "name the same database", []string{"--hub", unreachable, "--from-db", dsn, "-c", config}},
		{"this staging by another name", exit.Usage, "name the same database", []string{"--hub", unreachable, "--from-db", byAnotherName(t, dsn), "-c", config}},
		{"no privilege", exit.Error, "scripts/grants-source.sql", []string{"--hub", unreachable, "--from-db", asBare}},
		{"no server", exit.Later, "is PostgreSQL running there", []string{"--hub", unreachable, "--from-db", "postgres://u:canary@127.0.0.1:1/koji"}},
		{"no database", exit.Error, "does not exist", []string{"--hub", unreachable, "--from-db", strings.Replace(asBare, "kojisnap_test", "none", 1)}},
		{"not Koji's", exit.Error, "is it a Koji database?", []string{"--hub", unreachable, "--from-db", empty}},
		{"no such tag", exit.Error, `no tag "f99" at event`, []string{"--hub", unreachable, "--from-db", dsn, "--tag", "f99"}},
		{"no such event", exit.Error, "no event 9999; its newest is 419", []string{"--hub", unreachable, "--from-db", dsn, "--event", "9999"}},
		{"no such build", exit.Error, "has no build", []string{"--hub", unreachable, "--from-db", dsn, "--build", "none-1-1"}},
		{"too long", exit.Later, "not done within", []string{"--hub", unreachable, "--from-db", dsn, "--deadline", "1ns"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := t.TempDir()
			args := append([]string{"pull", "--store", store, "--debug"}, test.args...)
			if test.name != "no such tag" {
				args = append(args, "--tag", "f42-infra")
			}
			out, errs, code := kojisnapRun(t, args...)
			if code != test.code || !strings.Contains(errs, test.says) || out != "" {
				t.Errorf("exit code %d, want %d; %q, %q", code, test.code, out, errs)
			}
			if strings.Contains(errs, "canary") {
				t.Errorf("a password: %q", errs)
			}
			if found, err := filepath.Glob(filepath.Join(store, "snapshots", "*.json")); err != nil || len(found) > 0 {
				t.Errorf("snapshots after a failure: %q, %v", found, err)
			}
		})
	}
}

// byAnotherName is a DSN that leads to the same database over another name of its host.
func byAnotherName(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	switch u.Hostname() {
	case "127.0.0.1":
		u.Host = net.JoinHostPort("localhost", u.Port())
	case "localhost":
		u.Host = net.JoinHostPort("127.0.0.1", u.Port())
	default:
		t.Skipf("the server is at %q, which has no other name that this test knows", u.Host)
	}
	if sameDatabase(u.String(), dsn) {
		t.Fatalf("%s and %s are told to be the same by their texts", u, dsn)
	}
	return u.String()
}

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zstd"

	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/snapfile"
)

const password = "open-sesame-1"

// plantSecrets puts credentials into URLs of production in each column that may have them. It returns
// what the pull names, and what else must stay as it is.
func (h *oddHub) plantSecrets() (named []string, stay map[string]string) {
	h.t.Helper()
	set := func(table string, where, values hubtest.Values) {
		h.t.Helper()
		if n, err := h.rows.Update(table, where, values); n == 0 || err != nil {
			h.t.Fatal(table, where, n, err)
		}
	}
	b := ids(h.t, h.conn, `SELECT DISTINCT b.id FROM build b JOIN tag_listing l ON l.build_id = b.id AND l.active JOIN rpminfo r ON r.build_id = b.id WHERE b.state = 1 ORDER BY 1`)
	r := ids(h.t, h.conn, "SELECT id FROM rpminfo WHERE build_id = $1 ORDER BY id", b[2])
	a := ids(h.t, h.conn, "SELECT DISTINCT archive_id FROM maven_archives ORDER BY 1")
	repo := ids(h.t, h.conn, "SELECT DISTINCT external_repo_id FROM external_repo_config WHERE active ORDER BY 1")[0]
	var tag int
	var key string
	if err := h.conn.QueryRow(h.t.Context(), "SELECT tag_id, key FROM tag_extra WHERE active ORDER BY 1, 2 LIMIT 1").Scan(&tag, &key); err != nil {
		h.t.Fatal(err)
	}
	with := func(name string) string { return "https://" + name + password + "@example.org/x" }
	set("external_repo_config", hubtest.Values{"external_repo_id": repo, "active": true}, hubtest.Values{"url": with("me:") + "/$arch/"})
	set("build", hubtest.Values{"id": b[0]}, hubtest.Values{"source": "git+" + with("token:") + "#0123"})
	set("build", hubtest.Values{"id": b[1]}, hubtest.Values{"extra": `{"source": {"original_url": "` + with("me:") + `"}, "n": 1}`})
	set("build", hubtest.Values{"id": b[3]}, hubtest.Values{"source": "git+ssh://git@example.org/x#0123"})
	set("build", hubtest.Values{"id": b[4]}, hubtest.Values{"source": "git+https://me@example.org/x#0123"})
	set("rpminfo", hubtest.Values{"id": r[0]}, hubtest.Values{"extra": `{"from": ["` + with("x:") + `"]}`})
	set("archiveinfo", hubtest.Values{"id": a[1]}, hubtest.Values{"extra": `{"from": "` + with(":") + `"}`})
	set("tag_extra", hubtest.Values{"tag_id": tag, "key": key, "active": true}, hubtest.Values{"value": `"https:\/\/me:` + password + `@example.org\/x"`})
	return []string{fmt.Sprintf("external_repo_id=%d", repo), fmt.Sprintf("build %d", b[0]), fmt.Sprintf("build %d", b[1]), fmt.Sprintf("rpm %d ", r[0]), "archive of build", fmt.Sprintf("tag_id=%d", tag)},
		map[string]string{
			fmt.Sprint("SELECT source FROM build WHERE id = ", b[0]):                                         "git+https://example.org/x#0123",
			fmt.Sprint("SELECT extra FROM build WHERE id = ", b[1]):                                          `{"source": {"original_url": "https://example.org/x"}, "n": 1}`,
			fmt.Sprint("SELECT source FROM build WHERE id = ", b[3]):                                         "git+ssh://git@example.org/x#0123",
			fmt.Sprint("SELECT source FROM build WHERE id = ", b[4]):                                         "git+https://me@example.org/x#0123",
			fmt.Sprint("SELECT url FROM external_repo_config WHERE active AND external_repo_id = ", repo):    "https://example.org/x/$arch/",
			fmt.Sprintf("SELECT value FROM tag_extra WHERE active AND tag_id = %d AND key = '%s'", tag, key): `"https:\/\/example.org\/x"`,
			fmt.Sprint("SELECT extra FROM rpminfo WHERE id = ", r[0]):                                        `{"from": ["https://example.org/x"]}`,
			fmt.Sprint("SELECT extra FROM archiveinfo WHERE id = ", a[1]):                                    `{"from": "https://example.org/x"}`,
		}
}

// unpacked is all that a store holds, without compression.
func unpacked(t *testing.T, store string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(store, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".zst") {
			z, err := zstd.NewReader(nil)
			if err != nil {
				return err
			}
			defer z.Close()
			if body, err = z.DecodeAll(body, nil); err != nil {
				return err
			}
		}
		all.Write(body)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func holds(t *testing.T, conn *pgx.Conn, want map[string]string) {
	t.Helper()
	for sql, text := range want {
		var got string
		if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != text {
			t.Errorf("%s: %q, %v; want %q", sql, got, err, text)
		}
	}
}

// TestSecretsStripped: credentials in URLs of production reach neither the store nor staging. The pull
// says so, once; the next finds nothing changed.
func TestSecretsStripped(t *testing.T) {
	h := newOddHub(t)
	named, stay := h.plantSecrets()
	store, db := t.TempDir(), dbtest.Fresh(t)
	out, errs, code := kojisnapRun(t, h.pull(store)...)
	if code != exit.Done || len(lines(errs)) != 1 || !strings.Contains(errs, fmt.Sprintf("%d rows of production's have passwords or tokens in URLs, which are not in the snapshot: ", len(named))) {
		t.Errorf("pull: %d, %q", code, errs)
	}
	for _, row := range named {
		if !strings.Contains(errs, row) {
			t.Errorf("%q does not name %q", errs, row)
		}
	}
	if strings.Contains(unpacked(t, store), password) {
		t.Error("the store has the password")
	}
	first := strings.TrimSpace(out)
	kojisnapOK(t, "init", "--db", db, "--env", "stg")
	kojisnapOK(t, h.load(store, db)...)
	holds(t, connect(t, db), stay)
	if show := kojisnapOK(t, "show", "latest", "--store", store); strings.Count(show, "without the credentials in its URL") != len(named) {
		t.Errorf("show: %s", show)
	}

	// Again, from the base, and without: it is the same, and no news.
	for _, more := range [][]string{nil, {"--full"}, {"--json", "--full"}} {
		out, errs, code := kojisnapRun(t, h.pull(store, more...)...)
		if code != exit.Done || more == nil && (errs != "" || !strings.Contains(out, first)) || strings.Contains(out+errs, password) {
			t.Errorf("again %v: %d, %q, %q", more, code, out, errs)
		}
		if len(more) < 2 {
			continue
		}
		var r pull.Result
		if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Stripped) != len(named) || len(r.LeftOut) != 0 {
			t.Errorf("--json: %v, %+v", err, r.Stripped)
		}
	}
	out = kojisnapOK(t, "pull", "--hub", h.url, "--tag", "f42-compose", "--tag", "f42-build", "--margin", "1ns", "--store", store)
	if out == first || strings.Contains(unpacked(t, store), password) {
		t.Errorf("a later event: %q", out)
	}
	if show := kojisnapOK(t, "show", strings.TrimSpace(out), "--store", store); strings.Count(show, "without the credentials in its URL") != len(named) {
		t.Errorf("show of the later one: %s", show)
	}
	kojisnapOK(t, h.load(store, db)...)
	holds(t, connect(t, db), stay)
}

// resign puts another text into a store's only snapshot, as if it had been pulled so.
func resign(t *testing.T, store, old, text string) {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(store, "snapshots", "*"))
	if err != nil || len(manifests) != 1 {
		t.Fatal(manifests, err)
	}
	body, err := os.ReadFile(manifests[0])
	if err != nil {
		t.Fatal(err)
	}
	var m snapfile.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	z, _ := zstd.NewWriter(nil)
	for _, rel := range m.Relations {
		for i, s := range rel.Segments {
			file := filepath.Join(store, s.Object())
			packed, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r, _ := zstd.NewReader(nil)
			rows, err := r.DecodeAll(packed, nil)
			if err != nil {
				t.Fatal(err)
			}
			rows = bytes.ReplaceAll(rows, []byte(old), []byte(text))
			sum := sha256.Sum256(rows)
			again := z.EncodeAll(rows, packed[:27:27]) // the segment's tag
			rel.Segments[i].SHA256, rel.Segments[i].Bytes, rel.Segments[i].Compressed = hex.EncodeToString(sum[:]), int64(len(rows)), int64(len(again))
			if err := os.WriteFile(filepath.Join(store, rel.Segments[i].Object()), again, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	body, id, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	name, err := snapfile.ManifestObject(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(manifests[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store, name), body, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSecretsOfEarlier: a snapshot of an earlier kojisnap has credentials. They are not loaded, which
// the load tells, and do not get into a later snapshot.
func TestSecretsOfEarlier(t *testing.T) {
	h := newOddHub(t)
	_, stay := h.plantSecrets()
	store, db := t.TempDir(), dbtest.Fresh(t)
	kojisnapRun(t, h.pull(store)...)
	resign(t, store, "https://example.org/x", "https://me:"+password+"@example.org/x")
	if !strings.Contains(unpacked(t, store), "https://me:"+password) {
		t.Fatal("nothing was put into the snapshot")
	}
	kojisnapOK(t, "init", "--db", db, "--env", "stg")
	if _, errs, code := kojisnapRun(t, h.load(store, db)...); code != exit.Done || len(lines(errs)) != 1 || !strings.Contains(errs, "passwords or tokens in URLs of archiveinfo, build, external_repo_config, rpminfo") {
		t.Errorf("load: %d, %q", code, errs)
	}
	holds(t, connect(t, db), stay)
	id := strings.TrimSpace(kojisnapOK(t, "pull", "--hub", h.url, "--tag", "f42-compose", "--tag", "f42-build", "--margin", "1ns", "--store", store))
	kojisnapOK(t, h.load(store, db)...)
	holds(t, connect(t, db), stay)
	// What the later one is made of has none.
	manifest, err := os.ReadFile(filepath.Join(store, "snapshots", id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	clean := t.TempDir()
	for _, m := range regexp.MustCompile(`"sha256": ?"(\w+)"`).FindAllSubmatch(manifest, -1) {
		name := string(m[1]) + ".zst"
		if err := os.Link(filepath.Join(store, "segments", name), filepath.Join(clean, name)); err != nil {
			t.Fatal(err)
		}
	}
	if rows := unpacked(t, clean); rows == "" || strings.Contains(rows, password) {
		t.Errorf("the later snapshot has %d bytes of rows, with the password: %v", len(rows), rows != "")
	}
}

// TestSecretsHidden: no password gets out, wherever a person or a configuration put it.
func TestSecretsHidden(t *testing.T) {
	dirs := func(at string) []string {
		return []string{"--store", at, "--topdir", t.TempDir()}
	}
	store := t.TempDir()
	auth := regexp.MustCompile(password)
	for _, args := range [][]string{
		{"pull", "--hub", "https://me:" + password + "@127.0.0.1:1/kojihub", "--tag", "f42", "--store", store},
		{"pull", "--hub", "https:/me:" + password + "@127.0.0.1:1/kojihub", "--tag", "f42", "--store", store},
		{"pull", "--hub", "https://me:pa/" + password + "@127.0.0.1:1/kojihub", "--tag", "f42", "--store", store},
		{"pull", "--hub", "http://127.0.0.1:1/kojihub", "--tag", "https://me:" + password + "@x", "--store", store, "--deadline", "10ms"},
		{"snapshots", "--store", "https://me:" + password + "@example.org/x"},
		{"snapshots", "--store", "https:/me:" + password + "@example.org/x"},
		{"pull", "--hub", "http://127.0.0.1:1/kojihub", "--tag", "f42", "--store", "https:/me:" + password + "@example.org/x"},
		{"snapshots", "--store", "s3://KEY:" + password + "@bucket/prefix"},
		{"snapshots", "--store", `https://me:"quoted" and \` + password + "@example.org/x"},
		{"snapshots", "--store", "s3:KEY:" + password + "@bucket/prefix"},
		{"snapshots", "--store", "s3://bucket/prefix?endpoint=http://KEY:" + password + "@127.0.0.1:1/"},
		{"load", "--db", "postgres://me:" + password + "@127.0.0.1:1/koji", "--env", "stg", "--store", store},
		{"load", "--db", "postgres:/me:" + password + "@127.0.0.1:1/koji", "--env", "stg", "--store", store},
		{"status", "--db", "postgres://me:" + password + "@127.0.0.1:1/koji", "--env", "stg"},
		append([]string{"copy", "--source", "https://me:" + password + "@127.0.0.1:1/", "--tag", "f42"}, dirs(store)...),
		append([]string{"copy", "--source", "https:/me:" + password + "@127.0.0.1:1/", "--tag", "f42"}, dirs(store)...),
		append([]string{"copy", "--source", "https://me:" + password + "@127.0.0.1:1/?query", "--bwlimit", "https://me:" + password + "@x=1M"}, dirs(store)...),
		append([]string{"verify", "--hub", "https://me:" + password + "@127.0.0.1:1/kojihub"}, dirs(store)...),
		{"https://me:" + password + "@example.org"},
		{"snapshots", "https://me:" + password + "@example.org"},
		{"link", "https://me:" + password + "@example.org/x", t.TempDir()},
		{"snapshots", "-c", "https://me:" + password + "@example.org/x"},
		{"snapshots", "--lock-file", "/nowhere/https://me:" + password + "@example.org/x", "--store", store},
	} {
		for _, more := range [][]string{nil, {"--json"}, {"--log-format", "json", "--debug"}, {"--dry-run"}} {
			all := append(append([]string{}, args...), more...)
			out, errs, code := kojisnapRun(t, all...)
			if auth.MatchString(out + errs) {
				t.Errorf("%q: %d: %s%s", all, code, out, errs)
			}
			if code == exit.Done || out+errs == "" {
				t.Errorf("%q: %d", all, code)
			}
		}
	}
	if entries, err := os.ReadDir("."); err == nil {
		for _, e := range entries {
			if strings.Contains(e.Name(), ":") {
				os.RemoveAll(e.Name())
				t.Errorf("%s was made", e.Name())
			}
		}
	}
}

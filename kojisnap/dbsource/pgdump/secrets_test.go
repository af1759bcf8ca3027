package pgdump_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"

	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/dbsource/pgdump"
	"kojisnap/kojisnap/dbsource/sourcetest"
	"kojisnap/kojisnap/seedtest"
)

const canary = "canary-7f3a"

// secrets puts a canary into each column of Koji's that holds a secret, and into a plugin's table.
const secrets = `SET session_replication_role = replica;
	UPDATE users SET password = '` + canary + `' || id;
	UPDATE external_repo_config SET url = 'https://user:` + canary + `@example.com/$arch/';
	UPDATE build SET source = 'git+https://` + canary + `:@example.com/x#1', extra = '{"source": {"original_url": "https://a:` + canary + `@example.com\n"}}' WHERE id = 1;
	DELETE FROM user_krb_principals;
	INSERT INTO user_krb_principals (user_id, krb_principal) SELECT id, '` + canary + `' || id FROM users;
	INSERT INTO sessions (user_id, key, hostip) SELECT id, '` + canary + `', '` + canary + `' FROM users;
	INSERT INTO build_reservations (build_id, token, created) SELECT id, '` + canary + `', now() FROM build ON CONFLICT DO NOTHING;
	INSERT INTO build_notifications (user_id, email) SELECT id, '` + canary + `' FROM users;
	UPDATE task SET request = '` + canary + `', result = '` + canary + `', label = NULL;
	INSERT INTO proton_queue (address, props, body) VALUES ('` + canary + `', '{}', '"` + canary + `"');
	ALTER TABLE tag ADD note text; UPDATE tag SET note = '` + canary + `';
	COMMENT ON TABLE tag IS '` + canary + `';
	CREATE TABLE plugin_secrets (token text); INSERT INTO plugin_secrets VALUES ('` + canary + `');
	CREATE SCHEMA other; CREATE TABLE other.users (id int, name text, password text); INSERT INTO other.users VALUES (1, 'x', '` + canary + `')`

// secret is keep of a database with secrets.
func (w way) secret(t testing.TB) string {
	t.Helper()
	return w.keep(t, "secrets", func() string {
		dsn := dbtest.Production(t)
		dbtest.Exec(t, dsn, secrets)
		return dsn
	})
}

// TestSecrets: no secret of a dump reaches a temporary file, the store, a log or an error, in whichever format it is.
// Passwords in URLs are taken out, and noted, as for hubs.
func TestSecrets(t *testing.T) {
	some := (len(ways) + 1) / 2 // by each second way: TestOracle has them all
	if !seedtest.Long() {
		some = 5 // text, also compressed and from a pipe, and archives
	}
	for i := range some {
		w := ways[i*(len(ways)-1)/(some-1)]
		t.Run(w.name, func(t *testing.T) {
			file := w.secret(t)
			if w.name == "plain" && bytes.Count(read(t, file), []byte(canary)) < 50 {
				t.Fatal("the dump has too few canaries for a test")
			}
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			temp := t.TempDir()
			o := pgdump.Options{Path: file, TempDir: temp, Log: logger}
			if w.pipe {
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				o.Path, o.Stdin = "-", struct{ io.Reader }{f}
			}
			src, err := pgdump.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			files, text := spilled(t, temp)
			if stream := strings.Contains(log.String(), "read the dump"); stream != (files > 30) || stream != bytes.Contains(text, []byte("kernel")) {
				t.Errorf("%d temporary files of %d bytes; %s", files, len(text), log.String())
			}
			none(t, "a temporary file", text)
			s := sourcetest.Store(t)
			r, err := dbsource.Pull(t.Context(), src, s, dbsource.Options{Hub: "https://koji.example.com/kojihub", Tags: []string{"*"}, Event: 419, Log: logger})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Stripped) < 2 {
				t.Errorf("stripped of passwords: %v", r.Stripped)
			}
			objects := sourcetest.InStore(t, s)
			if len(objects) < 10_000 {
				t.Errorf("the store has %d bytes", len(objects))
			}
			none(t, "the store", objects)
			none(t, "the log", log.Bytes())
			for _, scan := range []dbsource.Scan{{Table: "users", Columns: []string{"password"}}, {Table: "sessions", Columns: []string{"key"}}, {Table: "plugin_secrets", Columns: []string{"token"}}, {Table: "tag", Columns: []string{"note"}}} {
				if err := src.Scan(t.Context(), scan, func([][]byte) error { return nil }); err == nil || strings.Contains(err.Error(), canary) {
					t.Errorf("%s.%s can be scanned: %v", scan.Table, scan.Columns[0], err)
				}
			}
		})
	}
}

// TestSecretsInErrors: the error for a dump that was cut within a secret, or that is not a dump but holds one, has
// nothing of it.
func TestSecretsInErrors(t *testing.T) {
	whole := read(t, way{}.secret(t))
	tried := 0
	for at := 0; ; tried++ {
		n := bytes.Index(whole[at:], []byte(canary))
		if n < 0 {
			break
		}
		at += n + len(canary)
		if tried%17 > 0 {
			continue
		}
		none(t, "the error", []byte(refused(t, way{}, write(t, whole[:at]))))
		damaged := bytes.Clone(whole)
		copy(damaged[at-len(canary)-1:], "\t") // one field more
		if src, err := (way{}).open(t, write(t, damaged)); err != nil {
			none(t, "the error", []byte(err.Error()))
		} else {
			src.Close()
		}
	}
	if tried < 50 {
		t.Errorf("%d canaries", tried)
	}
	none(t, "the error", []byte(refused(t, way{}, write(t, []byte(canary+"\n"+canary)))))
	none(t, "the error", []byte(refused(t, way{}, way{args: []string{"--inserts", "--table=users"}}.secret(t))))
}

func none(t *testing.T, what string, text []byte) {
	t.Helper()
	if at := bytes.Index(text, []byte(canary)); at >= 0 {
		t.Errorf("%s has a canary: %q", what, text[max(at-100, 0):min(at+50, len(text))])
	}
}

// spilled is what this process has in temporary files of a directory. They have no names, but links in /proc, and nobody
// else may read them.
func spilled(t *testing.T, temp string) (files int, all []byte) {
	t.Helper()
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("files with names in the directory: %v, %v", left, err)
	}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(fds) == 0 {
		t.Skip("no /proc")
	}
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, temp+"/") {
			continue
		}
		if info, err := os.Stat(fd); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", to, info.Mode(), err)
		}
		text, err := os.ReadFile(fd)
		if err == nil && len(text) > 0 {
			text, err = io.ReadAll(s2.NewReader(bytes.NewReader(text)))
		}
		if err != nil {
			t.Fatal(err)
		}
		files++
		all = append(all, text...)
	}
	return files, all
}

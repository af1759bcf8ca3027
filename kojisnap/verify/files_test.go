package verify_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/verify"
)

const (
	bash       = "vol/staged/packages/bash/5.3.0/2.fc42/"
	bashRPM    = bash + "x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
	bashSigned = bash + "data/signed/41526f0e/x86_64/bash-5.3.0-2.fc42.x86_64.rpm"
	bashSource = bash + "data/signed/41526f0e/src/bash-5.3.0-2.fc42.src.rpm"
	curl       = "vol/staged/packages/curl/8.11.1/4.fc42/x86_64/curl-8.11.1-4.fc42.x86_64.rpm"
	curlSigned = "vol/staged/packages/curl/8.11.1/4.fc42/data/signed/41526f0e/x86_64/curl-8.11.1-4.fc42.x86_64.rpm"
	modulemd   = "vol/staged/packages/postgresql-stream/16/4220250401.abcdef12/files/module/modulemd.x86_64.txt"
)

// unsigned is what is told if a compose may take signed copies alone.
const unsigned = `failed signed copies f42-compose: 97 of 212, 0 digests
  broken-app-1.0-1.fc42.src
  broken-app-1.0-1.fc42.x86_64
  cairo-1.18.2-3.fc42.src
  cairo-1.18.2-3.fc42.x86_64
  conflicted-1.0-2.fc42.src
failed signed copies module-postgresql-16: 4 of 4, 0 digests
  postgresql-16.8-3.module_f42+21000+1c2d3e4f.src
  postgresql-16.8-3.module_f42+21000+1c2d3e4f.x86_64
  postgresql-contrib-16.8-3.module_f42+21000+1c2d3e4f.x86_64
  postgresql-server-16.8-3.module_f42+21000+1c2d3e4f.x86_64
`

func (s *staging) remove(t testing.TB, path string) {
	t.Helper()
	pulltest.Must(t, os.Remove(filepath.Join(s.top, path)))
}

// rewrite puts another file in the place of one. It may be a hard link to production's.
func (s *staging) rewrite(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.top, path))
	pulltest.Must(t, err)
	s.remove(t, path)
	pulltest.Must(t, os.WriteFile(filepath.Join(s.top, path), change(b), 0o644))
}

func flipLast(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

// Each thing that can be wrong with a file is found, and nothing else.
func TestVerifyFiles(t *testing.T) {
	from := pulltest.NewSource(t, "f42-compose")
	bases, whole := map[string]*staging{}, t
	for _, test := range seedtest.Some([]struct {
		name   string
		damage func(t *testing.T, s *staging)
		want   compose.Want
		size   bool // not the digest
		not    string
	}{
		{name: "nothing", damage: func(*testing.T, *staging) {}},
		{name: "signed copy missing, unsigned instead", damage: func(t *testing.T, s *staging) { s.remove(t, bashSigned) }, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is not there; a compose takes the unsigned rpm instead
`},
		{name: "signed copy missing, unsigned not allowed", damage: func(t *testing.T, s *staging) { s.remove(t, bashSigned) }, want: signedOnly, not: `failed files f42-compose x86_64: 1 of 56, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is not there
` + unsigned},
		{name: "signed copy missing, another key's instead", damage: func(t *testing.T, s *staging) {
			s.remove(t, bashSigned)
			other := strings.Replace(bashSigned, "41526f0e", "ba2992d4", 1)
			s.remove(t, other)
			pulltest.Must(t, os.Link(filepath.Join(s.top, bashRPM), filepath.Join(s.top, other)))
		}, want: compose.Want{SigKeys: []string{"41526f0e", "ba2992d4", ""}}, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is not there; a compose takes the copy signed by ba2992d4 instead
`},
		{name: "copy of a key that nobody has a row of", damage: func(t *testing.T, s *staging) {
			pulltest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(s.top, curlSigned)), 0o755))
			pulltest.Must(t, os.Link(filepath.Join(s.top, curl), filepath.Join(s.top, curlSigned)))
		}, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  curl-8.11.1-4.fc42.x86_64: TOP/` + curlSigned + ` is there, and a compose takes it, but nobody has a signature row of key 41526f0e
`},
		{name: "copy of a key that staging alone has a row of", damage: func(t *testing.T, s *staging) {
			pulltest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(s.top, curlSigned)), 0o755))
			pulltest.Must(t, os.Link(filepath.Join(s.top, curl), filepath.Join(s.top, curlSigned)))
			rpms, err := s.rows.Select("rpminfo", hubtest.Values{"name": "curl", "version": "8.11.1", "arch": "x86_64"})
			pulltest.Must(t, err)
			pulltest.Must(t, s.rows.Insert("rpmsigs", hubtest.Values{"rpm_id": rpms[0]["id"], "sigkey": "41526f0e", "sighash": strings.Repeat("0", 32)}))
		}, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  curl-8.11.1-4.fc42.x86_64: verify "TOP/` + curlSigned + `": signing key is [], the database says 41526f0e
`},
		{name: "not signed in production", damage: func(t *testing.T, s *staging) {}, want: signedOnly, not: unsigned},
		{name: "both missing", damage: func(t *testing.T, s *staging) { s.remove(t, bashSigned); s.remove(t, bashRPM) }, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is not there
`},
		{name: "source missing", damage: func(t *testing.T, s *staging) { s.remove(t, bash+"src/bash-5.3.0-2.fc42.src.rpm") }, not: `failed files f42-compose src: 1 of 44, 0 digests
  bash-5.3.0-2.fc42.src: TOP/` + bash + `src/bash-5.3.0-2.fc42.src.rpm is not there
failed sources f42-compose: 1 of 43, 0 digests
  bash-5.3.0-2.fc42: TOP/` + bash + `src/bash-5.3.0-2.fc42.src.rpm is not there
`},
		{name: "symlink", damage: func(t *testing.T, s *staging) {
			s.remove(t, bashSigned)
			pulltest.Must(t, os.Symlink(filepath.Join(s.top, bashRPM), filepath.Join(s.top, bashSigned)))
		}, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is not a regular file but a symlink
`},
		{name: "symlink that leads nowhere", damage: func(t *testing.T, s *staging) {
			s.remove(t, bashSigned)
			pulltest.Must(t, os.Symlink("nowhere", filepath.Join(s.top, bashSigned)))
		}, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is a symlink that leads nowhere
`},
		{name: "fifo", damage: func(t *testing.T, s *staging) {
			s.remove(t, bashSigned)
			pulltest.Must(t, syscall.Mkfifo(filepath.Join(s.top, bashSigned), 0o644))
		}, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: TOP/` + bashSigned + ` is not a regular file but a special file
`},
		{name: "byte flipped", damage: func(t *testing.T, s *staging) { s.rewrite(t, bashSigned, flipLast) }, want: signed, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  bash-5.3.0-2.fc42.x86_64: verify "TOP/` + bashSigned + `": sigmd5 is 30430d3f6b56e72e5b4468583316f8d6, the database says de989233838da9ee326f2977d37cefa5
`},
		{name: "byte flipped, header only", damage: func(t *testing.T, s *staging) { s.rewrite(t, bashSigned, flipLast) }, want: signed, size: true},
		{name: "signed copy cut short, header only", damage: func(t *testing.T, s *staging) {
			s.rewrite(t, bashSigned, func(b []byte) []byte { return b[:len(b)-1] })
		}, want: signed, size: true, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  bash-5.3.0-2.fc42.x86_64: verify "TOP/` + bashSigned + `": sigmd5 is a082278e5d4ceceb7d0ccff3ce8fc3ba, the database says de989233838da9ee326f2977d37cefa5
`},
		{name: "unsigned cut short, header only", damage: func(t *testing.T, s *staging) {
			s.rewrite(t, bashRPM, func(b []byte) []byte { return b[:len(b)-1] })
		}, size: true, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  bash-5.3.0-2.fc42.x86_64: verify "TOP/` + bashRPM + `": size is 6438, the database says 6439
`},
		{name: "empty", damage: func(t *testing.T, s *staging) {
			s.rewrite(t, bashSigned, func([]byte) []byte { return nil })
		}, want: signed, size: true, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  bash-5.3.0-2.fc42.x86_64: verify "TOP/` + bashSigned + `": format is "not an rpm: lead: EOF", the database says an rpm
`},
		{name: "unsigned as signed copy", damage: func(t *testing.T, s *staging) {
			unsigned, err := os.ReadFile(filepath.Join(s.top, bashRPM))
			pulltest.Must(t, err)
			s.rewrite(t, bashSigned, func([]byte) []byte { return unsigned })
		}, want: signed, size: true, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  bash-5.3.0-2.fc42.x86_64: verify "TOP/` + bashSigned + `": signature header is md5:ddcd6aa60cc705e4f14f789a4a7d854f, the database says md5:3f6b83f58140202ffeec11a654289dc9
`},
		{name: "another rpm", damage: func(t *testing.T, s *staging) {
			source, err := os.ReadFile(filepath.Join(s.top, bashSource))
			pulltest.Must(t, err)
			s.rewrite(t, bashSigned, func([]byte) []byte { return source })
		}, want: signed, size: true, not: `failed files f42-compose x86_64: 1 of 109, 1 digests
  bash-5.3.0-2.fc42.x86_64: verify "TOP/` + bashSigned + `": sigmd5 is 47422cf659fd28d0ba2f24d53f520d9a, the database says de989233838da9ee326f2977d37cefa5
`},
		{name: "hostile name", damage: func(t *testing.T, s *staging) {
			s.update(t, "rpminfo", hubtest.Values{"id": 53}, hubtest.Values{"name": "../bash\n"})
		}, want: signed, not: `failed rpms f42-compose x86_64: 2 of 109, 0 digests
  "../bash\n-5.3.0-2.fc42.x86_64: only in staging"
  bash-5.3.0-2.fc42.x86_64: only in production
failed files f42-compose x86_64: 1 of 109, 0 digests
  "../bash\n-5.3.0-2.fc42.x86_64: rpm \"../bash\\n-5.3.0-2.fc42.x86_64.rpm\": unsafe rpm name \"../bash\\n\": contains a slash"
`},
		{name: "modulemd changed", damage: func(t *testing.T, s *staging) { s.rewrite(t, modulemd, flipLast) }, want: signed, size: true, not: `failed module files f42-compose: 1 of 2, 1 digests
  postgresql-stream-16-4220250401.abcdef12: verify "TOP/` + modulemd + `": md5 is 19ad7714f3e2dd731deb51f53ea9263d, the database says 46a605f98593dd077fc4787cd2c27ae1
`},
		{name: "modulemd missing", damage: func(t *testing.T, s *staging) { s.remove(t, modulemd) }, want: signed, size: true, not: `failed module files f42-compose: 1 of 2, 0 digests
  postgresql-stream-16-4220250401.abcdef12: open TOP/` + modulemd + `: no such file or directory
`},
	}, 12) {
		t.Run(test.name, func(t *testing.T) {
			keys := strings.Join(test.want.SigKeys, " ")
			if bases[keys] == nil {
				bases[keys] = newStaging(whole, from, test.want)
			}
			s := bases[keys].clone(t)
			test.damage(t, s)
			r := s.verify(t, func(o *verify.Options) { o.Want, o.Digest = test.want, !test.size })
			got := s.notOK(r)
			if got != test.not {
				t.Errorf("got\n%swant\n%s", got, test.not)
			}
			if r.Ready() == strings.Contains(test.not, "failed") {
				t.Errorf("ready: %t", r.Ready())
			}
			if r.DigestMismatch() != strings.Contains(test.not, "1 digests") {
				t.Errorf("digest mismatch: %t", r.DigestMismatch())
			}
		})
	}
}

// Where the hub has topdir at another path symlinks say that path: they are looked for below
// topdir as it is here, not in what is at that path on this machine.
func TestVerifyHubTopdir(t *testing.T) {
	hubPath := filepath.Join(t.TempDir(), "mnt/koji")
	s := newStaging(t, pulltest.NewSource(t, "f42-compose"), signed)
	pulltest.Must(t, os.Remove(filepath.Join(s.top, bashSigned)))
	pulltest.Must(t, os.Symlink(filepath.Join(hubPath, bashRPM), filepath.Join(s.top, bashSigned)))
	for hub, want := range map[string]string{hubPath: "is not a regular file but a symlink", "": "is a symlink that leads nowhere"} {
		got := s.notOK(s.verify(t, func(o *verify.Options) { o.Want, o.HubTopdir = signed, hub }))
		if !strings.Contains(got, "TOP/"+bashSigned+" "+want) {
			t.Errorf("hub's path %q: got\n%s", hub, got)
		}
	}
}

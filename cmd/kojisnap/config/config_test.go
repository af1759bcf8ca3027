package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// testSchema is that of two commands.
func testSchema() *Schema {
	var all []*Flags
	for _, name := range []string{"pull", "load"} {
		f := New(name)
		f.Section(Common, nil, func(fs *pflag.FlagSet) {
			fs.String("env", "staging", "")
			fs.String("store", "", "")
		})
		f.Section(name, nil, func(fs *pflag.FlagSet) {
			fs.String("hub", "", "")
			fs.StringArray("tag", nil, "")
			fs.Int("jobs", 4, "")
			if name == "load" {
				fs.String("db", "", "")
			}
		})
		all = append(all, f)
	}
	return NewSchema(all...)
}

// configure writes files, by name below a directory, and reads them as a configuration.
func configure(t *testing.T, files map[string]string) (*Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Read("", dir, testSchema())
	return c, dir, err
}

// TestEnvironments: a value is that of the environment's table of the command, or of the environment, or of the
// command's table, or of the top level, and its origin says which.
func TestEnvironments(t *testing.T) {
	c, dir, err := configure(t, map[string]string{Name: `store = "all"
hub = "top"
[env]
default = "stg"
[load]
hub = "load"
jobs = 1
[env.stg]
hub = "stg"
[env.stg.load]
jobs = 3
tag = ["s"]
[env."dev"]
load.hub = "dev-load"
volumes = {archive = "old", x = "y"}
[volumes]
archive = "vault"
kept = "k"
`})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Environments(); !slices.Equal(got, []string{"dev", "stg"}) {
		t.Errorf("environments: %q", got)
	}
	file := filepath.Join(dir, Name)
	for _, test := range []struct {
		env, section, key string
		value, origin     string // "": there is none
	}{
		{"", Common, "env", "stg", ":4 [env] default"},
		{"stg", Common, "env", "stg", ":4 [env] default"},
		{"", "load", "hub", "load", ":6 [load]"},
		{"", "pull", "hub", "top", ":2"},
		{"", "load", "tag", "", ""},
		{"stg", Common, "store", "all", ":1"},
		{"stg", "load", "hub", "stg", ":9 [env.stg]"},
		{"stg", "pull", "hub", "stg", ":9 [env.stg]"},
		{"stg", "load", "jobs", "3", ":11 [env.stg.load]"},
		{"stg", "load", "tag", "[s]", ":12 [env.stg.load]"},
		{"stg", "pull", "tag", "", ""},
		{"dev", "load", "hub", "dev-load", ":14 [env.dev.load]"},
		{"dev", "pull", "hub", "top", ":2"},
		{"dev", "load", "jobs", "1", ":7 [load]"},
		{"no", "load", "jobs", "1", ":7 [load]"},
	} {
		value, origin, ok := c.For(test.env).Lookup(test.section, test.key)
		if ok != (test.origin != "") || ok && (fmt.Sprint(value) != test.value || origin != file+test.origin) {
			t.Errorf("%+v: %v, %q", test, value, origin)
		}
	}
	for env, want := range map[string]map[string]string{
		"stg": {"archive": "vault", "kept": "k"},
		"dev": {"archive": "old", "x": "y", "kept": "k"},
	} {
		if got := c.For(env).Volumes(); !maps.Equal(got, want) {
			t.Errorf("volumes of %s: %v", env, got)
		}
	}
	for env, says := range map[string]string{"stg": "", "dev": "", "sgt": `no environment "sgt" (did you mean stg?): it has dev and stg; --env NAME`, "production": `no environment "production": it has`} {
		err := c.Require(env)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("require %s: %v", env, err)
		}
	}
	if c, _, err := configure(t, map[string]string{Name: "env = 'any'\n"}); err != nil || len(c.Environments()) != 0 || c.Require("other") != nil {
		t.Errorf("a configuration of one environment: %v, %q, %v", err, c.Environments(), c.Require("other"))
	}
}

// TestConfD: files of conf.d go before the first file and before one another, by name and key by key; a list replaces
// a list; misnamed ones are told.
func TestConfD(t *testing.T) {
	c, dir, err := configure(t, map[string]string{
		Name:                 "[load]\ntag = ['x', 'y']\nhub = 'first'\njobs = 1\n[env.a.load]\nhub = 'mine'\n",
		"conf.d/20-b.toml":   "[load]\njobs = 3\n",
		"conf.d/10-a.toml":   "env = 'a'\n[load]\ntag = ['z']\njobs = 2\n",
		"conf.d/30.toml":     "[env.a]\nload = {jobs = 5}\n[env.b]\n",
		"conf.d/x.conf":      "",
		"conf.d/x.TOML":      "",
		"conf.d/README":      "",
		"conf.d/a.toml.save": "",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ env, key, value, origin string }{
		{"", "tag", "[z]", "conf.d/10-a.toml:3 [load]"},
		{"", "jobs", "3", "conf.d/20-b.toml:2 [load]"},
		{"", "hub", "first", Name + ":3 [load]"},
		{"", "env", "a", "conf.d/10-a.toml:1"},
		{"a", "hub", "mine", Name + ":6 [env.a.load]"},
		{"a", "jobs", "5", "conf.d/30.toml:2 [env.a.load]"},
		{"b", "jobs", "3", "conf.d/20-b.toml:2 [load]"},
	} {
		section := "load"
		if test.key == "env" {
			section = Common
		}
		value, origin, _ := c.For(test.env).Lookup(section, test.key)
		if fmt.Sprint(value) != test.value || origin != filepath.Join(dir, test.origin) {
			t.Errorf("%+v: %v, %q", test, value, origin)
		}
	}
	if want := []string{filepath.Join(dir, "conf.d/x.TOML"), filepath.Join(dir, "conf.d/x.conf")}; !slices.Equal(c.Unread, want) {
		t.Errorf("unread: %q", c.Unread)
	}
	if got := c.Environments(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("environments: %q", got)
	}
}

// TestFaults: every fault of every environment is told, with file and line; what is right is still read.
func TestFaults(t *testing.T) {
	c, dir, err := configure(t, map[string]string{
		Name: `sotre = "x"
store = "/s"
[load]
jobs = "many"
[env.stg.load]
jbos = 1
[env.stg]
env = "x"
hub = 3
[env.stg.laod]
x = 1
[env.UP]
store = 1
[env]
other = "stg"
default = 5
[volumes]
a = 1
[env.dev.volumes]
b = []
`,
		"conf.d/a.toml": "a = [\n\n}",
		"conf.d/b.toml": "env = 'x'\n[env.stg]\n",
		"conf.d/c.toml": "[load]\ndb = 'd'\n",
	})
	faults, ok := err.(Faults)
	if !ok {
		t.Fatalf("%v", err)
	}
	want := []string{
		Name + `:1: no flag "sotre" (did you mean store?)`,
		Name + `:4: [load] jobs: want a whole number, not "many"`,
		Name + `:6: [env.stg.load] has no key "jbos" (did you mean jobs?)`,
		Name + `:8: [env.stg] has no key env:`,
		Name + `:9: [env.stg] hub: want a text in quotes, not 3`,
		Name + `:10: no command [env.stg.laod] (did you mean load?)`,
		Name + `:12: [env.UP]: environment "UP": want lower case letters`,
		Name + `:15: [env] has no key "other"`,
		Name + `:16: [env] default: want a text in quotes, not 5`,
		Name + `:18: [volumes] a: want the name of a volume, not 1`,
		Name + `:20: [env.dev.volumes] b: want the name of a volume, not []`,
		`conf.d/a.toml:3: `,
		`conf.d/b.toml:2: Key 'env' was already created as a hash.; a file that has [env.NAME]`,
	}
	for i, f := range faults {
		if i >= len(want) || !strings.HasPrefix(f.Error(), "configuration "+filepath.Join(dir, want[i])) && i != 11 {
			t.Errorf("%d: %v", i, f)
		}
	}
	if len(faults) != len(want) || !strings.HasPrefix(faults[11].Error(), "configuration "+dir+"/conf.d/a.toml:3: ") {
		t.Errorf("%d faults, want %d: %v", len(faults), len(want), faults[11])
	}
	if text := err.Error(); !strings.Contains(text, ":1: no flag") || !strings.HasSuffix(text, "(and 12 more: kojisnap config check lists them)") || strings.Contains(text, "\n") {
		t.Errorf("in a line: %s", text)
	}
	for key, want := range map[string]string{"store": "/s", "db": "d"} {
		section := map[string]string{"store": Common, "db": "load"}[key]
		if got, _, _ := c.Lookup(section, key); got != want {
			t.Errorf("%s is %v", key, got)
		}
	}
}

// TestKeyLines: keys are found in whatever form TOML allows. Each value below is its line.
func TestKeyLines(t *testing.T) {
	const text = `a = 1 # b = 1
"c d" = 2
e.f.g = 3
'h' . "i" = 4
s1 = "x = \"] {" # [t]
s2 = '\'
x = 7
m1 = """
y = 1
\""" z = 1
[t]"""""
y = 12
m2 = '''
q = 1'''
z = 15
list = [ # [no]
  "],", ["}", '''
  r = 2 '''], {n = 18, o = {p = 18}},
  3 ]
inline = {k1 = 20, k2 = "},", "k.3" = 20, k4.k5 = 20}
[t] # comment
a = 22
[t.u . "v.w"]
  a   =   24
[[arr]]
a = 26
[[arr]]
b = 28
["\u0041"]
"\"" = 30
`
	var decoded map[string]any
	if _, err := toml.Decode(text, &decoded); err != nil {
		t.Fatal(err)
	}
	lines, found := keyLines(text), 0
	var walk func(path []string, v any)
	walk = func(path []string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				walk(append(slices.Clone(path), key), inner)
			}
		case []map[string]any:
			for _, inner := range v {
				walk(path, inner)
			}
		case []any:
			for _, inner := range v {
				if _, ok := inner.(map[string]any); ok {
					walk(path, inner)
				}
			}
		case int64:
			found++
			if got := lines[joinKey(path...)]; got != int(v) {
				t.Errorf("%q is said to be in line %d, and is in line %d", path, got, v)
			}
		}
	}
	walk(nil, decoded)
	if found != 17 {
		t.Errorf("%d values were compared", found)
	}
	if got := keyLines("\ufeffa = 1"); got["a"] != 1 {
		t.Errorf("behind a byte order mark: %v", got)
	}
	for table, line := range map[string]int{"t": 21, joinKey("t", "u"): 23, joinKey("t", "u", "v.w"): 23, "arr": 25, "A": 29, "inline": 20, "list": 16} {
		if lines[table] != line {
			t.Errorf("table %q is said to be in line %d, and is in line %d", table, lines[table], line)
		}
	}
}

// FuzzKeyLines: no file makes the search for lines hang or panic, and of a file that is TOML each key has a line.
func FuzzKeyLines(f *testing.F) {
	for _, seed := range []string{"a = 1", "[a]\nb = [1, {c = 2}]", "'''", `"\`, "[", "a = {", "[[a.b]]\nc='x'", "a.b.c = \"\"\"\n\"\"\"\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := keyLines(text)
		var decoded map[string]any
		meta, err := toml.Decode(text, &decoded)
		if err != nil {
			return
		}
		for _, key := range meta.Keys() {
			if n := lines[joinKey(key...)]; n < 1 || n > strings.Count(text, "\n")+1 {
				t.Errorf("%q: %q is said to be in line %d", text, key, n)
			}
		}
	})
}

// TestNearest: a word is suggested that differs in at most a third of the letters that were typed.
func TestNearest(t *testing.T) {
	words := []string{"pull", "load", "status", "doctor", "verify", "sync", "größe"}
	for word, want := range map[string]string{
		"pul": "pull", "laod": "load", "stauts": "status", "dcotor": "doctor", "grösse": "größe", "gröse": "größe",
		"ls": "", "version": "", "frobnicate": "", "": "", "xx": "", "snyc": "sync", "lload": "load", "stat": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

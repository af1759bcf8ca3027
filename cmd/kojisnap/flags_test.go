package main

import (
	"maps"
	"path/filepath"
	"testing"

	"kojisnap/cmd/kojisnap/config"
)

// TestLimits: rates of all sources and of one, from the command line and the configuration.
func TestLimits(t *testing.T) {
	const bucket = "s3://koji/tree?endpoint=http://host:9000&region=a=b"
	for name, test := range map[string]struct {
		args []string
		toml string
		all  config.Rate
		of   map[string]int64
	}{
		"none":            {},
		"all":             {args: []string{"--bwlimit", "50M"}, all: 50 << 20},
		"one":             {args: []string{"--bwlimit", "/mnt/a=b=500k"}, of: map[string]int64{"/mnt/a=b": 500 << 10}},
		"some":            {args: []string{"--bwlimit", bucket + "=1G", "--bwlimit", "7", "--bwlimit=/mnt=0"}, all: 7, of: map[string]int64{bucket: 1 << 30, "/mnt": 0}},
		"the last counts": {args: []string{"--bwlimit", "1M", "--bwlimit", "2M"}, all: 2 << 20},
		"configured":      {toml: `bwlimit = "50M"`, all: 50 << 20},
		"a number":        {toml: `bwlimit = 1000`, all: 1000},
		"a list":          {toml: `bwlimit = ["50M", "` + bucket + `=5M"]`, all: 50 << 20, of: map[string]int64{bucket: 5 << 20}},
		"overridden":      {args: []string{"--bwlimit", "1M"}, toml: `bwlimit = ["50M", "/mnt=5M"]`, all: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.toml")
			write(t, file, "[copy]\n"+test.toml+"\n")
			c, err := config.Read(file, "", schema())
			if err != nil {
				t.Fatal(err)
			}
			var o copyFlags
			f := config.New("copy")
			f.Section("copy", nil, o.add)
			if err := f.Set.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			if err := f.Configure(c); err != nil {
				t.Fatal(err)
			}
			if o.bwlimit.All != test.all || !maps.Equal(o.bwlimit.Of, test.of) {
				t.Errorf("%+v", o.bwlimit)
			}
		})
	}
}

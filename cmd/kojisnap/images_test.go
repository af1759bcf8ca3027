package main

import (
	"path/filepath"
	"strings"
	"testing"

	"kojisnap/cmd/kojisnap/exit"
)

// TestConfigImages: [verify.image] is read pattern by pattern, also of an environment, config show says the same, and
// config check names each fault with its line.
func TestConfigImages(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kojisnap.toml")
	write(t, file, `[verify]
hub = "https://koji.stg.example.com/kojihub"
[verify.image]
"f42*" = "example.com/fedora:42"
"f42* aarch64" = "example.com/arm:42"
[env.stg]
topdir = "/mnt/koji"
[env.stg.verify.image]
"f42*" = { image = "example.com/stg:42", release = "42" }
"eln" = "example.com/eln"
`)
	if out, errs, code := kojisnapRun(t, "config", "check", "-c", file); code != exit.Done || out+errs != "" {
		t.Errorf("exit code %d, %s%s", code, out, errs)
	}
	shown := kojisnapOK(t, "config", "show", "verify", "-c", file, "--env", "stg")
	if want := `image = { "eln" = "example.com/eln", "f42*" = { "image" = "example.com/stg:42", "release" = "42" }, "f42* aarch64" = "example.com/arm:42" }`; !strings.Contains(shown, want) {
		t.Errorf("shown: %s", shown)
	}
	again := filepath.Join(dir, "again.toml")
	write(t, again, shown)
	if out := kojisnapOK(t, "config", "show", "verify", "-c", again); !strings.Contains(out, `"f42* aarch64" = "example.com/arm:42"`) {
		t.Errorf("what was shown says: %s", out)
	}
	for text, says := range map[string]string{
		`image = "example.com/fedora"`:                                           "want a table of images",
		`image = { "f42*" = 42 }`:                                                "want the name of an image",
		`image = { "f42*" = { image = "a", releas = "42" } }`:                    "did you mean release?",
		`image = { "f42*" = { release = "42" } }`:                                "want the name of the image as image",
		`image = { "f42*" = "--privileged" }`:                                    "is no name of an image",
		`image = { "f42* x y" = "a" }`:                                           "want a pattern of tags",
		`in = "lxc"`:                                                             "want one of host, docker, podman, mock, here",
		"in = \"docker\"\ncompose = \"/mnt/koji/trial\"\ntopdir = \"/mnt/koji\"": "needs images",
		`compose-run = "true"`:                                                   "--compose-run needs --in",
	} {
		write(t, file, "[verify]\n"+text+"\n")
		if out, errs, code := kojisnapRun(t, "config", "check", "-c", file); code != exit.Usage || !strings.Contains(errs, says) || !strings.Contains(errs, file+":") {
			t.Errorf("%s: exit code %d, %s%s", text, code, out, errs)
		}
	}
}

package dbsync

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Overlay is what an operator wants in staging beyond or instead of production's. Each load
// brings the database to it, in the same transaction; what an earlier overlay put there and
// this one does not name goes again. An example:
//
//	block_users = ["autosign"]
//
//	[[user]]
//	name = "stgadmin"
//	principals = ["stgadmin@STG.EXAMPLE.COM"]
//	permissions = ["admin"]
//	content_generators = ["osbs"]
//
//	[[host]]
//	name = "builder01.stg.example.com"
//	principals = ["compile/builder01.stg.example.com@STG.EXAMPLE.COM"]
//	arches = ["x86_64", "i686"]
//	channels = ["default", "createrepo"]
//	capacity = 3.0
//
//	[[external_repo_url]]
//	from = "https://kojipkgs.example.com/"
//	to = "https://kojipkgs.stg.example.com/"
//
//	[[target]]
//	name = "f42-stg"
//	build_tag = "f42-build"
//	dest_tag = "f42-updates-candidate"
//
//	[[tag_extra]]
//	tag = "f42-build"
//	key = "mock.new_chroot"
//	value = "0"    # JSON text
type Overlay struct {
	Users           []OverlayUser   `toml:"user" json:"user,omitempty"`
	Hosts           []OverlayHost   `toml:"host" json:"host,omitempty"`
	ExternalRepoURL []OverlayURL    `toml:"external_repo_url" json:"external_repo_url,omitempty"`
	Targets         []OverlayTarget `toml:"target" json:"target,omitempty"`
	TagExtras       []OverlayExtra  `toml:"tag_extra" json:"tag_extra,omitempty"`
	BlockUsers      []string        `toml:"block_users" json:"block_users,omitempty"`
}

// OverlayUser is a person or a program, who is made if need be, with what is granted.
type OverlayUser struct {
	Name              string   `toml:"name" json:"name"`
	Principals        []string `toml:"principals" json:"principals,omitempty"`
	Permissions       []string `toml:"permissions" json:"permissions,omitempty"`
	ContentGenerators []string `toml:"content_generators" json:"content_generators,omitempty"`
}

// OverlayHost is a builder. Whether it is enabled is left to staging's admins.
type OverlayHost struct {
	Name        string   `toml:"name" json:"name"`
	Principals  []string `toml:"principals" json:"principals,omitempty"`
	Arches      []string `toml:"arches" json:"arches"`
	Channels    []string `toml:"channels" json:"channels"`
	Capacity    float64  `toml:"capacity" json:"capacity,omitempty"` // above 1; 0 is 2
	Description string   `toml:"description" json:"description,omitempty"`
}

// OverlayURL rewrites the beginning of the URLs of production's external repositories; the
// first that fits counts.
type OverlayURL struct {
	From string `toml:"from" json:"from"`
	To   string `toml:"to" json:"to"`
}

// OverlayTarget is a build target, staging's own or with other tags than production's.
type OverlayTarget struct {
	Name     string `toml:"name" json:"name"`
	BuildTag string `toml:"build_tag" json:"build_tag"`
	DestTag  string `toml:"dest_tag" json:"dest_tag"`
}

// OverlayExtra is a tag's extra setting, as JSON text.
type OverlayExtra struct {
	Tag   string `toml:"tag" json:"tag"`
	Key   string `toml:"key" json:"key"`
	Value string `toml:"value" json:"value"`
}

// ReadOverlay reads a file.
func ReadOverlay(file string) (*Overlay, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	o, err := ParseOverlay(body)
	if err != nil {
		return nil, fmt.Errorf("overlay %s: %w", file, err)
	}
	return o, nil
}

// ParseOverlay reads TOML. Unknown keys, missing ones and doubled entries are errors, all
// reported together.
func ParseOverlay(body []byte) (*Overlay, error) {
	o := new(Overlay)
	meta, err := toml.Decode(string(body), o)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, key := range meta.Undecoded() {
		faults = append(faults, fmt.Errorf("unknown key %q", key.String()))
	}
	return o, errors.Join(append(faults, o.validate()...)...)
}

func (o *Overlay) validate() (faults []error) {
	seen := map[string]bool{}
	// entry checks that an entry is complete and the only one of its name.
	entry := func(kind, name string, required ...string) {
		for _, v := range append([]string{name}, required...) {
			if v == "" || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				faults = append(faults, fmt.Errorf("%s %q: %q is empty or holds control characters", kind, name, v))
			}
		}
		if seen[kind+"\x00"+name] {
			faults = append(faults, fmt.Errorf("%s %q is there twice", kind, name))
		}
		seen[kind+"\x00"+name] = true
	}
	for _, u := range o.Users {
		entry("user", u.Name, append(append(u.Principals, u.Permissions...), u.ContentGenerators...)...)
	}
	for _, h := range o.Hosts {
		entry("user", h.Name, append(append(h.Principals, h.Arches...), h.Channels...)...)
		if len(h.Arches) == 0 || len(h.Channels) == 0 {
			faults = append(faults, fmt.Errorf("host %q: it needs arches and channels", h.Name))
		}
		if h.Capacity != 0 && !(h.Capacity > 1) {
			faults = append(faults, fmt.Errorf("host %q: its capacity %v is not above 1", h.Name, h.Capacity))
		}
	}
	for _, u := range o.ExternalRepoURL {
		entry("external_repo_url", u.From, u.To)
	}
	for _, t := range o.Targets {
		entry("target", t.Name, t.BuildTag, t.DestTag)
	}
	for _, x := range o.TagExtras {
		entry("tag_extra", x.Tag+" "+x.Key, x.Tag, x.Key)
		if !json.Valid([]byte(x.Value)) {
			faults = append(faults, fmt.Errorf("tag_extra %q %q: its value %q is not JSON", x.Tag, x.Key, x.Value))
		}
	}
	for _, b := range o.BlockUsers {
		entry("block_users", b)
		if seen["user\x00"+b] {
			faults = append(faults, fmt.Errorf("user %q is both granted something and blocked", b))
		}
	}
	return faults
}

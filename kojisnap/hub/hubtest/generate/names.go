package generate

import (
	"math"
	"math/rand/v2"
	"strings"
)

// nameMaker makes names like those of Fedora's packages. It never makes a name twice.
type nameMaker struct {
	rnd  *rand.Rand
	used map[string]bool
}

// families are prefixes of source packages with their share in percent. The others have no prefix.
var families = []struct {
	prefix string
	share  float64
}{
	{"python-", 17}, {"rust-", 12}, {"perl-", 13}, {"golang-github-", 6}, {"rubygem-", 3}, {"php-", 2.5},
	{"ghc-", 2.5}, {"R-", 2}, {"mingw-", 1.5}, {"nodejs-", 1}, {"xorg-x11-", .5}, {"gnome-shell-extension-", .5},
	{"maven-", .5}, {"ocaml-", 1}, {"lib", 6}, {"kf6-", .5}, {"google-noto-", .3},
}

var nameWords = strings.Fields(`abi access agent alpha api archive async atom audio auth auto base batch bio bits block
	boot box bridge buffer build cache calc chain check chrome cipher cli client cloud code collection color common
	compress config connect console convert core crypt curl daemon dash data date db debug decode desktop device diff
	dns doc docker edit emacs encode engine env error event exec export extra fast feed file filter flask font format
	frame ftp fuzz game gate generic geo git glib graph grid gtk gui hash heap help hook host html http icon image
	import index info input io iter java json kernel key kit lang launch layer learn lex lib light line link linux list
	load local lock log loop lua mail make manager map mark math media memory menu meta mime mini mirror mock model
	module mount mpi multi music name net node note number object open option order pack page panel parse patch path
	pattern pdf perf pipe pixel plot plugin pool port print process profile proto proxy pulse query queue quick rand
	range reader regex remote render repo request resolve rpc rule runtime safe scan schema script search secret sense
	server session shell signal simple socket sound spec spell sql ssh stack stat state storage stream string struct
	style sync system table tag task template term test text theme thread time token tool trace transform tree type
	ui unit update url user util validate value vector version video view virtual vision wave web widget window wire
	word work wrap write xml yaml zip zone`)

var syllables = strings.Fields(`al an ar ba be bo ca ce co da de di do el en er fa fi ga ge go ha hi in ja ka ki la le li
	lo ma me mi mo na ne ni no ol on or pa pe pi po qu ra re ri ro sa se si so ta te ti to un ur va ve vi wa xi ya zo`)

func (m *nameMaker) word() string {
	if m.rnd.Float64() < .7 {
		return nameWords[m.rnd.IntN(len(nameWords))]
	}
	var b strings.Builder
	for range 2 + m.rnd.IntN(3) {
		b.WriteString(syllables[m.rnd.IntN(len(syllables))])
	}
	return b.String()
}

// source returns the name of a new source package, and whether packages of that family are usually noarch.
func (m *nameMaker) source() (name string, noarch bool) {
	for {
		prefix := ""
		at := m.rnd.Float64() * 100
		for _, f := range families {
			if at -= f.share; at < 0 {
				prefix = f.prefix
				break
			}
		}
		parts := []string{m.word()}
		for len(parts) < 4 && m.rnd.Float64() < .42 {
			parts = append(parts, m.word())
		}
		sep := "-"
		switch {
		case strings.HasPrefix(prefix, "rust-") && m.rnd.IntN(3) == 0:
			sep = "_"
		case prefix == "" && m.rnd.IntN(12) == 0:
			sep = "++"
		case prefix == "perl-" || prefix == "R-":
			for i, p := range parts {
				parts[i] = strings.ToUpper(p[:1]) + p[1:]
			}
		}
		name = prefix + strings.Join(parts, sep)
		if m.take(name) {
			share := .25
			switch prefix {
			case "python-", "perl-", "rubygem-", "php-", "rust-", "golang-github-", "maven-", "nodejs-", "gnome-shell-extension-", "google-noto-":
				share = .75
			}
			return name, m.rnd.Float64() < share
		}
	}
}

func (m *nameMaker) take(name string) bool {
	if m.used[name] {
		return false
	}
	m.used[name] = true
	return true
}

var subpackages = []string{"devel", "libs", "doc", "common", "tools", "data", "utils", "static", "tests", "server",
	"client", "gui", "lang", "python3", "plugins", "selinux", "systemd", "bash-completion", "core", "examples"}

// binary returns the name of a new subpackage.
func (m *nameMaker) binary(source string, n int) string {
	for try := 0; ; try++ {
		var name string
		switch {
		case try == 0 && n < len(subpackages):
			name = source + "-" + subpackages[n]
		case strings.HasPrefix(source, "rust-"):
			name = source + "+" + m.word() + "-devel"
		case m.rnd.IntN(4) == 0:
			name = source + "-langpack-" + syllables[m.rnd.IntN(len(syllables))]
		default:
			name = source + "-" + m.word()
			if try > 4 {
				name += "-" + m.word()
			}
		}
		if m.take(name) {
			return name
		}
	}
}

// subpackageCount is heavy-tailed: half of all have one, few have hundreds.
func subpackageCount(rnd *rand.Rand) int {
	return int(min(300, math.Pow(1-rnd.Float64(), -1/1.2)))
}

// fileSize is log-normal, in bytes.
func fileSize(rnd *rand.Rand, median float64) int64 {
	return int64(min(3e9, 4000+median*math.Exp(1.7*rnd.NormFloat64())))
}

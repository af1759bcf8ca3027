package integration_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// order is ARCHITECTURE.md's map: a package imports only packages of later lines, those of its own line
// not either. A new package goes into the line below all that import it. A line may have packages that
// do not exist yet.
var order = []string{
	// Programs.
	"cmd/kojisnap cmd/hubtest integration/demo",
	"cmd/kojisnap/describe cmd/kojisnap/flags cmd/kojisnap/monitor",
	"cmd/kojisnap/tell",
	"cmd/kojisnap/exit",
	"cmd/kojisnap/jsondoc cmd/kojisnap/config cmd/kojisnap/output cmd/kojisnap/version",
	// What people and monitoring are told; the order of steps; then what one step is.
	"kojisnap/report kojisnap/metrics",
	"kojisnap",
	"kojisnap/dbsource/postgres kojisnap/dbsource/pgdump",
	"kojisnap/dbsource",
	"kojisnap/pull kojisnap/verify kojisnap/bundle",
	"kojisnap/pull/scope kojisnap/trial/inside",
	"kojisnap/trial kojisnap/repository kojisnap/compose kojisnap/narrow kojisnap/pull/convert kojisnap/shardplan",
	"kojisnap/pull/pager",
	"kojisnap/pull/checkpoint kojisnap/tagged kojisnap/snapshot",
	"hardlink/shard",
	// What staging has.
	"dbsync hardlink",
	"dbsync/overlay/apply dbsync/preflight dbsync/setup dbsync/status dbsync/fullimport hardlink/prodtree hardlink/fleet",
	"dbsync/loadtx",
	"volumes/clone/overlay volumes/clone/btrfs volumes/clone/program volumes/clone/ontap",
	"dbsync/book dbsync/overlay volumes/clone",
	"dbsync/kojidb hardlink/ledger hardlink/source",
	"hardlink/content",
	"hardlink/rpmfile",
	"dbsync/dbconn dbsync/sqltext volumes/topdir",
	// Production's hub, snapshots and where they are.
	"volumes kojisnap/hub kojisnap/store/signed",
	"kojisnap/store/s3 kojisnap/store/dir",
	"kojisnap/snapfile",
	"kojisnap/store kojisnap/relation kojisnap/tagglob kojisnap/pyregexp",
	"kojisnap/report/markup kojisnap/durable kojisnap/idset kojisnap/lockfile kojisnap/progress kojisnap/retry kojisnap/secret kojisnap/slow kojisnap/oneline",
}

// testOrder is the same for what only tests and cmd/hubtest import. They may import all of order.
var testOrder = []string{
	"integration/withserver",
	"integration integration/ops kojisnap/report/reporttest kojisnap/pull/pulltest kojisnap/dbsource/sourcetest kojisnap/benchtest kojisnap/seedtest volumes/volumestest volumes/clone/clonetest kojisnap/trial/inside/insidetest hardlink/ledger/ledgertest hardlink/fleet/fleettest kojisnap/snapfile/forgetest kojisnap/store/storetest kojisnap/store/s3/s3test",
	"dbsync/dbtest kojisnap/hub/hubtest kojisnap/hub/hubtest/generate integration/programtest",
	"kojisnap/hub/hubtest/query",
	"kojisnap/hub/hubtest/kojidb kojisnap/hub/hubtest/xmlrpc",
	"kojisnap/containertest kojisnap/hub/hubtest/python kojisnap/hub/hubtest/kojiprod",
}

// TestNoTemplates: nothing in the program runs templates. text/template, which html/template is made of, calls methods by
// name, so the linker would keep all methods of all types, first of all those of the client for S3: the program would
// have 35 MB in place of 26, and its image too. net/rpc, which kolo/xmlrpc imports, has a template for a page that
// nothing here serves: the linker drops what would run it. integration/ops holds the size of the image.
func TestNoTemplates(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "kojisnap/cmd/kojisnap").Output()
	must(t, err)
	markup := false
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		name, imports := words[0], words[1:]
		markup = markup || name == "kojisnap/kojisnap/report/markup"
		if (slices.Contains(imports, "text/template") || slices.Contains(imports, "html/template")) && name != "html/template" && name != "net/rpc" {
			t.Errorf("the program's package %s imports templates, which can make the program 8 MB larger; for HTML there is kojisnap/report/markup", name)
		}
	}
	if !markup {
		t.Errorf("the program lacks kojisnap/report/markup: these are not its packages:\n%s", out)
	}
}

// programs are the packages of order that serve tests: they may import those of testOrder.
var programs = []string{"cmd/hubtest", "integration/demo"}

// TestImportOrder holds the packages to the order; imports of tests are free.
func TestImportOrder(t *testing.T) {
	t.Parallel()
	level := map[string]int{} // the tests' packages stand above all others
	for i, line := range slices.Concat(testOrder, order) {
		for _, name := range strings.Fields(line) {
			if _, twice := level[name]; twice {
				t.Errorf("the order has %s twice", name)
			}
			level[name] = i
		}
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "kojisnap/...").Output()
	must(t, err)
	for list := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := list.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, "kojisnap/")
		at, known := level[name]
		if !known {
			t.Errorf("package %s is not in the order: add it to the line below all that import it", name)
			continue
		}
		for _, imported := range p.Imports {
			to, own := strings.CutPrefix(imported, "kojisnap/")
			if !own {
				continue
			}
			below, known := level[to]
			switch {
			case !known: // told above
			case below < len(testOrder) && slices.Contains(programs, name):
			case below <= at:
				t.Errorf("%s imports %s, which is upward: the order has %s in line %d, %s in line %d", name, to, name, at+1, to, below+1)
			}
		}
	}
}

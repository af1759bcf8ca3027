package browsertest

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

//go:embed page.js
var script string

// TestPages looks at every page as people do: wide and narrow, light and dark, with the keyboard.
func TestPages(t *testing.T) {
	dir := os.Getenv("KOJISNAP_PAGES")
	if dir == "" {
		t.Skip("KOJISNAP_PAGES is not set: the tests of kojisnap/report and integration make pages and run this")
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.html"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no page in %s: %v", dir, err)
	}
	browser, stop := chromedp.NewContext(context.Background())
	defer stop()
	must(t, chromedp.Do(browser))
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) { look(t, browser, page) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eval runs an expression in the page.
func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// look makes all checks of one page.
func look(t *testing.T, browser context.Context, file string) {
	ctx, stop := chromedp.NewContext(browser)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var asked, said []string
	note := func(list *[]string, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		*list = append(*list, fmt.Sprintf(format, args...))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/page" {
			note(&asked, "%s %s", r.Method, r.URL)
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, file)
	}))
	defer srv.Close()
	must(t, chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			if e.Request.URL != srv.URL+"/page" {
				note(&asked, "%s", e.Request.URL)
			}
		case *log.EventEntryAdded:
			note(&said, "%s: %s", e.Entry.Level, e.Entry.Text)
		case *runtime.EventConsoleAPICalled:
			note(&said, "console.%s", e.Type)
		case *runtime.EventExceptionThrown:
			note(&said, "exception: %s", e.ExceptionDetails.Text)
		}
	}))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	must(t, err)
	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	must(t, err)
	must(t, chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(srv.URL+"/page")))
	if n := eval[int](t, ctx, "document.scripts.length + document.querySelectorAll('iframe, img, object, embed, form, [style], link').length"); n != 0 {
		t.Errorf("%d elements that the page must not have", n)
	}
	if eval[bool](t, ctx, "'hacked' in window") {
		t.Error("a name in the page ran as a script")
	}
	_ = eval[any](t, ctx, script+"; null") // the page's policy does not hold for the tests
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{360, 768, 1280} {
			media(t, ctx, "", scheme)
			must(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 900)))
			checkLooks(t, ctx, fmt.Sprintf("%s at %d px", scheme, width))
			shoot(t, ctx, fmt.Sprintf("%s-%s-%d", strings.TrimSuffix(filepath.Base(file), ".html"), scheme, width))
		}
	}
	media(t, ctx, "", "light")
	checkKeyboard(t, ctx)
	checkEnvironments(t, ctx)
	checkLinks(t, ctx)
	checkNames(t, ctx)
	checkPrint(t, ctx)
	mu.Lock()
	defer mu.Unlock()
	for _, s := range said {
		t.Errorf("the browser says: %s", s)
	}
	for _, s := range asked {
		t.Errorf("the page asks for %s", s)
	}
}

func media(t *testing.T, ctx context.Context, media, scheme string) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	must(t, err)
}

// checkLooks: every text stands out from its background, and the page does not scroll sideways.
func checkLooks(t *testing.T, ctx context.Context, how string) {
	t.Helper()
	faint := eval[struct {
		Texts int
		Bad   []string
	}](t, ctx, "looks.faint()")
	if faint.Texts < 8 {
		t.Errorf("%s: only %d texts were found", how, faint.Texts)
	}
	for _, text := range faint.Bad {
		t.Errorf("%s: too little contrast, %s", how, text)
	}
	if wide := eval[[]string](t, ctx, "looks.wide()"); len(wide) > 0 {
		t.Errorf("%s: the page scrolls sideways: %q", how, wide)
	}
}

// checkKeyboard: the tabulator reaches everything that can be used, from top to bottom, and people see where they are.
func checkKeyboard(t *testing.T, ctx context.Context) {
	t.Helper()
	_ = eval[any](t, ctx, "document.activeElement.blur(), scrollTo(0, 0), null")
	stops := eval[int](t, ctx, "looks.stops().length")
	if stops < 5 {
		t.Errorf("only %d elements can have the focus", stops)
	}
	for i := range stops {
		must(t, chromedp.Do(ctx, chromedp.KeyEvent("\t")))
		at := eval[struct {
			At   int
			Name string
			Seen bool
		}](t, ctx, "looks.focus()")
		if at.At != i {
			t.Errorf("the tabulator leads to %q, number %d, in place of %d of %d", at.Name, at.At, i, stops)
			return
		}
		if !at.Seen {
			t.Errorf("the focus on %q cannot be seen", at.Name)
		}
	}
}

// checkEnvironments: an arrow key chooses the next environment, and only that one is shown.
func checkEnvironments(t *testing.T, ctx context.Context) {
	t.Helper()
	n := eval[int](t, ctx, "document.querySelectorAll('.pick').length")
	shown := func() string {
		return eval[string](t, ctx, "[...document.querySelectorAll('.env')].filter(e => e.checkVisibility()).map(e => e.id).join(' ')")
	}
	first := 1
	if n > 0 {
		first = eval[int](t, ctx, "[...document.querySelectorAll('.pick')].findIndex(e => e.checked) + 1")
	}
	want := func(when string, env int) {
		t.Helper()
		if got := shown(); got != fmt.Sprint("panel", env) {
			t.Errorf("%s %q is shown, not environment %d", when, got, env)
		}
	}
	want("at first", first)
	if n < 2 {
		return
	}
	for i := range n { // round, back to the first one
		_ = eval[any](t, ctx, "document.querySelector('.pick:checked').focus(), null")
		must(t, chromedp.Do(ctx, chromedp.KeyEvent(kb.ArrowRight)))
		want("after an arrow key", (first+i)%n+1)
		checkLooks(t, ctx, fmt.Sprint("after the arrow key ", i+1))
	}
	label := fmt.Sprintf("document.querySelector('label[for=env%d]')", first%n+1)
	if !eval[bool](t, ctx, "(l => { l.scrollIntoView(); const r = l.getBoundingClientRect(); return l.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)); })("+label+")") {
		t.Error("a mouse does not reach the label of an environment")
	}
	_ = eval[any](t, ctx, label+".click(), null")
	want("after a click", first%n+1)
	_ = eval[any](t, ctx, fmt.Sprintf("document.getElementById('env%d').click(), null", first))
}

// checkLinks: each link of the page leads to something, and a cell of the matrix opens what it is about.
func checkLinks(t *testing.T, ctx context.Context) {
	t.Helper()
	if lost := eval[[]string](t, ctx, "[...document.querySelectorAll('a[href]')].filter(a => !a.getAttribute('href').startsWith('#') || !document.getElementById(a.hash.slice(1))).map(a => a.outerHTML)"); len(lost) > 0 {
		t.Errorf("links that lead nowhere: %q", lost)
	}
	_ = eval[any](t, ctx, "document.querySelectorAll('details').forEach(d => d.open = false), null")
	const cells = "[...document.querySelectorAll('.matrix td a')].filter(a => a.checkVisibility())"
	if eval[int](t, ctx, cells+".length") == 0 {
		return
	}
	_ = eval[any](t, ctx, cells+"[0].click(), null")
	if !eval[bool](t, ctx, "document.querySelector(':target').closest('details').open") {
		t.Error("a click on a cell of the matrix does not open its details")
	}
}

// checkNames: what a screen reader says has no link, picture or control without a name.
func checkNames(t *testing.T, ctx context.Context) {
	t.Helper()
	tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	must(t, err)
	roles := map[string]int{}
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role := strings.Trim(string(node.Role.Value), `"`)
		roles[role]++
		name := ""
		if node.Name != nil {
			name = strings.Trim(string(node.Name.Value), `" `)
		}
		switch role {
		case "link", "button", "image", "radio", "heading", "region", "navigation", "DisclosureTriangle":
			if name == "" {
				t.Errorf("a %s has no name", role)
			}
		}
	}
	if roles["heading"] < 3 || roles["main"] != 1 {
		t.Errorf("the page's structure: %v", roles)
	}
}

// checkPrint: on paper the page is light, whatever the screen is, and nothing is cut off.
func checkPrint(t *testing.T, ctx context.Context) {
	t.Helper()
	media(t, ctx, "print", "dark")
	if back := eval[string](t, ctx, "getComputedStyle(document.body).backgroundColor"); back != "rgb(255, 255, 255)" {
		t.Errorf("the paper is %s", back)
	}
	if cut := eval[int](t, ctx, "[...document.querySelectorAll('.scroll')].filter(e => getComputedStyle(e).overflowX != 'visible').length"); cut > 0 {
		t.Errorf("%d tables are cut off in print", cut)
	}
	pdf, err := chromedp.Run(ctx, chromedp.PrintToPDF())
	if err != nil || !strings.HasPrefix(string(pdf), "%PDF") {
		t.Errorf("print: %v", err)
	}
	media(t, ctx, "", "light")
}

// shoot leaves a picture of the top of the page, and one of the whole page.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("KOJISNAP_SHOTS")
	if dir == "" {
		return
	}
	for suffix, action := range map[string]chromedp.Action[[]byte]{"": chromedp.CaptureScreenshot(), "-whole": chromedp.FullScreenshot(100)} {
		png, err := chromedp.Run(ctx, action)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name+suffix+".png"), png, 0o644))
	}
}

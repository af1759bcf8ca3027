// Package browsertest looks at pages of kojisnap report with a real browser. It is a module of its own, so that the
// program does not require the browser's driver. The tests of kojisnap/report and of integration make the pages and run
// it: KOJISNAP_PAGES is the directory with them; with KOJISNAP_SHOTS, a directory, it leaves pictures there.
package browsertest

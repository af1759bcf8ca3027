package hubtest_test

import (
	"os"
	"testing"

	"kojisnap/dbsync/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

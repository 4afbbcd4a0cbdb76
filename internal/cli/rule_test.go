package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")

// The guides show what the commands print: a block of a command after "$ ", the lines that it goes on for after a backslash, and its output.
func TestTheGuidesShowWhatIsPrinted(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for file, least := range map[string]int{"docs/rule-test.md": 7, "examples/rule/README.md": 2} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		commands := 0
		for _, block := range consoleBlock.FindAllStringSubmatch(string(text), -1) {
			for command := range strings.SplitSeq(strings.TrimPrefix(block[1], "$ "), "\n$ ") {
				commands++
				lines := strings.SplitAfter(strings.TrimSuffix(command, "\n")+"\n", "\n")
				n := 1
				for strings.HasSuffix(lines[n-1], "\\\n") {
					n++
				}
				shell := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(lines[:n], "")) // rialto is on the PATH: see TestMain
				shell.Dir = root
				got, err := shell.CombinedOutput()
				if want := strings.Join(lines[n:], ""); string(got) != want {
					t.Errorf("%s: %s printed\n%s\n(%v) want\n%s", file, lines[0], got, err, want)
				}
			}
		}
		if commands < least {
			t.Errorf("%s: found %d commands, there were %d", file, commands, least)
		}
	}
}

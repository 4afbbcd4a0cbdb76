package eventlog

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func encode(calls ...[][]byte) []byte {
	var in []*appendCall
	for _, entries := range calls {
		in = append(in, &appendCall{entries: entries})
	}
	return appendRecord(nil, in)
}

func TestRecordHoldsEveryCallInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entry := rapid.SliceOfN(rapid.Byte(), 0, 300)
		calls := rapid.SliceOfN(rapid.SliceOfN(entry, 1, 10), 1, 10).Draw(t, "calls")
		got, err := decodeRecord(encode(calls...))
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Concat(calls...); !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestRecordThatIsNotOneIsRefused(t *testing.T) {
	good := encode(toEntries("one", "two"))
	newer := bytes.Clone(good)
	newer[1] = recordVersion + 1
	older := bytes.Clone(good)
	older[1] = 0
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, errNotRecord},
		{"JSON", []byte(`{"a":1}`), errNotRecord},
		{"cut short", good[:len(good)-1], errNotRecord},
		{"something behind it", append(bytes.Clone(good), 0), errNotRecord},
		{"more entries than bytes", []byte{recordMagic, recordVersion, 200, 1, 0}, errNotRecord},
		{"a length without end", []byte{recordMagic, recordVersion, 1, 0xff}, errNotRecord},
		{"a length beyond the end", []byte{recordMagic, recordVersion, 1, 9, 'x'}, errNotRecord},
		{"version 0", older, errNotRecord},
		{"a newer version", newer, errNewerVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := decodeRecord(tt.data); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encode(toEntries("one", "", "三 🎉"), toEntries("x")))
	f.Add([]byte{recordMagic, recordVersion, 0})
	f.Add([]byte{recordMagic, recordVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{recordMagic, 2, 1, 1, 'x'})
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := decodeRecord(data)
		if err != nil {
			return
		}
		again, err := decodeRecord(encode(entries))
		if err != nil || !slices.EqualFunc(again, entries, bytes.Equal) {
			t.Fatalf("%q became %q, %v", entries, again, err)
		}
	})
}

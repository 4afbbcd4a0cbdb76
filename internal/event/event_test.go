package event

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnvelopeIsWrittenCompactlyInAWSOrder(t *testing.T) {
	at := time.Date(2026, 1, 15, 21, 29, 54, 987_000_000, time.FixedZone("", 3600))
	e := Event{
		ID: "7bf73129", DetailType: "订单 🛒 \"quoted\"", Source: "shop\\x", Account: "111122223333", Time: at, Region: "eu-west-1",
		Resources: []string{"arn:a", "b\n"}, Detail: json.RawMessage("{ \"b\" : [1, 2],\n\"a\": \"x \\\" y\" }"),
	}
	want := `{"version":"0","id":"7bf73129","detail-type":"订单 🛒 \"quoted\"","source":"shop\\x","account":"111122223333",` +
		`"time":"2026-01-15T20:29:54.987Z","region":"eu-west-1","resources":["arn:a","b\n"],"detail":{"b":[1,2],"a":"x \" y"}}`
	if got := string(e.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e.ReplayName = "again"
	if got := string(e.AppendJSON(nil)); !strings.Contains(got, `"region":"eu-west-1","replay-name":"again","resources"`) {
		t.Errorf("replay-name is not between region and resources: %s", got)
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), {}, // Go's zero time is one that an event can have
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		e := Event{
			ID: "1", DetailType: "t", Source: "s", Account: "1", Time: at, Region: "r",
			ReplayName: "n", Resources: []string{"x"}, Detail: json.RawMessage(`{"k":1}`),
		}
		got, err := Parse(e.AppendJSON(nil))
		if err != nil {
			t.Errorf("an event of %s: %v", at, err)
			continue
		}
		if diff := cmp.Diff(&e, got); diff != "" {
			t.Error(diff)
		}
	}
}

const whole = `{"version":"0","id":"i","detail-type":"t","source":"s","account":"111122223333","time":"2026-01-02T03:04:05Z","region":"r","resources":[],"detail":{}}`

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"text that is not JSON":                   {`{`, "not a JSON object"},
		"an array":                                {`[]`, "not a JSON object"},
		"an unknown member":                       {strings.Replace(whole, `"id"`, `"extra":1,"id"`, 1), "extra"},
		"a member in another case":                {strings.Replace(whole, `"detail-type"`, `"Detail-Type"`, 1), "Detail-Type"},
		"null":                                    {`null`, "null"},
		"a source that is a number":               {strings.Replace(whole, `"s"`, `1`, 1), "source is not a string"},
		"another version":                         {strings.Replace(whole, `"0"`, `"1"`, 1), `version is "1"`},
		"no source":                               {strings.Replace(whole, `"source":"s",`, ``, 1), "no source"},
		"an empty id":                             {strings.Replace(whole, `"id":"i"`, `"id":""`, 1), "no id"},
		"detail that is a string":                 {strings.Replace(whole, `"detail":{}`, `"detail":"{}"`, 1), "detail is not a JSON object"},
		"no detail":                               {strings.Replace(whole, `,"detail":{}`, ``, 1), "no detail"},
		"detail-type of two strings":              {strings.Replace(whole, `"t"`, `["a","b"]`, 1), "detail-type is not a string"},
		"a time without a zone":                   {strings.Replace(whole, `05Z`, `05`, 1), "is not a time"},
		"a time of the year 10000 in UTC":         {strings.Replace(whole, `2026-01-02T03:04:05Z`, `9999-12-31T23:59:59-23:59`, 1), "years 0 to 9999"},
		"a time before the year 0 in UTC":         {strings.Replace(whole, `2026-01-02T03:04:05Z`, `0000-01-01T00:00:00+00:01`, 1), "years 0 to 9999"},
		"an empty time":                           {strings.Replace(whole, `2026-01-02T03:04:05Z`, ``, 1), "no time"},
		"no time":                                 {strings.Replace(whole, `"time":"2026-01-02T03:04:05Z",`, ``, 1), "no time"},
		"an account with letters":                 {strings.Replace(whole, `111122223333`, `1111a`, 1), "account"},
		"an id longer than 64":                    {strings.Replace(whole, `"id":"i"`, `"id":"`+strings.Repeat("x", 65)+`"`, 1), "id is 65 characters long"},
		"text behind the event":                   {whole + ` {}`, "after top-level value"},
		"an event beyond the size":                {strings.Replace(whole, `"detail":{}`, `"detail":{"x":"`+strings.Repeat("x", MaxSize)+`"}`, 1), "more than"},
		"a detail-type that is too big in a list": {strings.Replace(whole, `"t"`, `["`+strings.Repeat("t", 513)+`"]`, 1), "detail-type is 513"},
		"a detail-type that is too big":           {strings.Replace(whole, `"t"`, `"`+strings.Repeat("t", 513)+`"`, 1), "detail-type is 513"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestInjectedEventsKeepWhatTheyHaveAndAreFilledIn(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 123, time.UTC)
	d := Defaults{Account: "999988887777", Region: "eu-west-1", Now: now}

	e, notes, err := ParseInjected([]byte(whole), d)
	if err != nil || len(notes) != 0 {
		t.Fatalf("a whole event: notes %q, error %v", notes, err)
	}
	if e.ID != "i" || e.Account != "111122223333" || e.Region != "r" {
		t.Errorf("a whole event was changed: %+v", e)
	}

	e, notes, err = ParseInjected([]byte(`{"source":"aws.proton","detail-type":["x"],"time":"2021-03-22T23:21:40.734Z","detail":{}}`), d)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID == "" || e.Account != d.Account || e.Region != d.Region || e.DetailType != "x" {
		t.Errorf("filled in: %+v", e)
	}
	if len(notes) != 4 || !strings.Contains(notes[0], "array") {
		t.Errorf("notes are %q", notes)
	}
	if _, _, err = ParseInjected([]byte(`{"source":"s","detail":{}}`), d); err == nil {
		t.Error("an event without detail-type was taken")
	}
}

func TestRecordsAreReadBack(t *testing.T) {
	r := Record{
		Bus: BusRef{Account: "111122223333", Region: "us-east-1", Name: "orders"}, ID: "id-1",
		Accepted: time.UnixMilli(1_700_000_000_123).UTC(), RuleVersion: 7, Trace: "Root=1", AccountHops: 1, RegionHops: 1,
		ReplayRules: []string{"arn:1", "arn:2"}, Origin: OriginPutEvents + " 111122223333", JSON: []byte(whole),
	}
	encoded := r.Append(nil)
	got, err := DecodeRecord(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	for n := range len(encoded) - len(whole) {
		if _, err := DecodeRecord(encoded[:n]); err == nil {
			t.Errorf("a record cut short at %d was read", n)
		}
	}
}

func TestARecordOfVersion1IsReadWithoutAnOrigin(t *testing.T) {
	r := Record{Bus: BusRef{Account: "111122223333", Region: "us-east-1", Name: "orders"}, ID: "id-1", Accepted: time.UnixMilli(1).UTC(), JSON: []byte(whole)}
	encoded := r.Append(nil)
	origin := len(encoded) - len(whole) - 1 // its length, 0
	old := append([]byte{1}, encoded[1:origin]...)
	got, err := DecodeRecord(append(old, whole...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
}

func TestARecordOfANewerProgramIsRefused(t *testing.T) {
	if _, err := DecodeRecord([]byte{recordVersion + 1}); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("error is %v", err)
	}
}

func TestBusARNHasThePartitionOfItsRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1":     "arn:aws:events:us-east-1:111122223333:event-bus/default",
		"cn-north-1":    "arn:aws-cn:events:cn-north-1:111122223333:event-bus/default",
		"us-gov-west-1": "arn:aws-us-gov:events:us-gov-west-1:111122223333:event-bus/default",
	} {
		if got := (BusRef{Account: "111122223333", Region: region, Name: DefaultBus}).ARN(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"source":"aws.proton","detail-type":["x"],"detail":{"a":[1,{"b":"\u00e9"}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(e.AppendJSON(nil))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if again.ID != e.ID || again.Source != e.Source || again.DetailType != e.DetailType {
			t.Fatalf("read back %+v, want %+v", again, e)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	r := Record{Bus: BusRef{Account: "1", Region: "r", Name: "n"}, ID: "i", ReplayRules: []string{"x"}, JSON: []byte("{}")}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil {
			return
		}
		if _, err := DecodeRecord(r.Append(nil)); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	e := Event{ID: NewID(), DetailType: "t", Source: "s", Account: "111122223333", Time: time.Now(), Region: "us-east-1", Detail: json.RawMessage(`{"a":"` + strings.Repeat("x", 900) + `"}`)}
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}

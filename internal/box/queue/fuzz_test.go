package queue

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzHandle(f *testing.F) {
	f.Add(handle{1, 2, 3, 4}.String())
	f.Add("AQEB")
	f.Add("你好 👋")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHandle(&Queue{id: 1}, text)
		if err != nil {
			return
		}
		if again, err := parseHandle(&Queue{id: 1}, h.String()); err != nil || again != h {
			t.Errorf("%q reads as %v and then as %v, %v", text, h, again, err)
		}
	})
}

func FuzzRedrivePolicies(f *testing.F) {
	for _, seed := range []string{
		`{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead","maxReceiveCount":"3"}`,
		`{"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:eu-west-1:111122223333:a"]}`,
		`{"redrivePermission":"denyAll"}`, `null`, `[]`, `{"maxReceiveCount":1e3}`, `{"deadLetterTargetArn":"队列"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, canonical := range []func(string) (string, error){canonicalRedrive, canonicalRedriveAllow} {
			once, err := canonical(text)
			if err != nil {
				continue
			}
			if once != "" && !json.Valid([]byte(once)) {
				t.Errorf("%q becomes %q, which is not JSON", text, once)
			}
			if twice, err := canonical(once); err != nil || twice != once {
				t.Errorf("%q becomes %q and then %q, %v", text, once, twice, err)
			}
		}
		if r := parseRedrive(text); r != nil && r.DeadLetter.Account != "" && !strings.Contains(text, r.DeadLetter.Name) {
			t.Errorf("%q names %v", text, r.DeadLetter)
		}
	})
}

func FuzzDraft(f *testing.F) {
	f.Add("body", "name", "Number.int", "12", "g", "d")
	f.Add("订单 🚚", "a.b", "String", "上海", "", "")
	f.Fuzz(func(t *testing.T, body, name, kind, text, group, dedup string) {
		for _, fifo := range []bool{false, true} {
			d := Draft{Body: body, Attributes: map[string]Value{name: {Type: kind, Text: text}}, GroupID: group, DedupID: dedup}
			have := &Queue{Settings: Settings{FIFO: fifo, MaxSize: MaxMessageSize}}
			if d.check(have) != nil {
				continue
			}
			m := d.message(have, account)
			if strings.ContainsRune(m.body, 0) || fifo && (m.groupID == "" || m.dedupID == "") {
				t.Errorf("took %+v", d)
			}
			var back map[string]Value
			if err := json.Unmarshal([]byte(m.attributes), &back); err != nil || back[name].Text != text || valuesDigest(back) != valuesDigest(d.Attributes) {
				t.Errorf("attributes %v come back as %v, %v", d.Attributes, back, err)
			}
		}
	})
}

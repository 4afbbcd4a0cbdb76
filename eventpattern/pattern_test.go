package eventpattern

import "testing"

func TestSmoke(t *testing.T) {
	for _, tc := range []struct {
		p, e string
		want bool
	}{
		{`{"source":["a"]}`, `{"source":"a"}`, true},
		{`{"source":["a"],"detail":{"x":[{"numeric":[">",1,"<",5]}]}}`, `{"source":"a","detail":{"x":3}}`, true},
		{`{"e":{"t":["S"],"p":["Doctor"]}}`, `{"e":[{"t":"S","p":"Nurse"},{"t":"D","p":"Doctor"}]}`, false},
		{`{"e":{"t":["S"],"p":["Nurse"]}}`, `{"e":[{"t":"S","p":"Nurse"},{"t":"D","p":"Doctor"}]}`, true},
		{`{"$or":[{"a":[1]},{"b":[{"prefix":"x"}]}]}`, `{"b":"xy"}`, true},
		{`{"a":[{"exists":false}]}`, `{"b":"xy"}`, true},
		{`{"a":[{"cidr":"10.0.0.5/24"}]}`, `{"a":"10.0.0.1"}`, true},
		{`{"a":["::1"]}`, `{"a":"0:0:0:0:0:0:0:1"}`, true},
		{`{"a":[{"wildcard":"a*c*e"}]}`, `{"a":"abcde"}`, true},
	} {
		p, err := Compile([]byte(tc.p))
		if err != nil {
			t.Fatal(tc.p, err)
		}
		got, err := p.Match([]byte(tc.e))
		if err != nil || got != tc.want {
			t.Error(tc.p, tc.e, got, err)
		}
		var s Set
		s.Add(7, p)
		ids, err := s.Match(nil, []byte(tc.e))
		if err != nil || (len(ids) == 1) != tc.want {
			t.Error(tc.p, tc.e, ids, err)
		}
	}
}

# Tokens: constants, comments, operators, and the faults of each.

select @ -5, |/ 25, a @> b, a -> 'x' ->> 'y' #> '{a}'
----
SELECT (@ -5), (|/ 25), (a @> b), (((a -> 'x') ->> 'y') #> '{a}')

select e'a\nb\x41\101\u0041\U00000041', E'it''s'
----
SELECT 'a
bAAAA', 'it''s'

select E'\u00'
----
error 22025 at 10: invalid Unicode escape
hint: Unicode escapes must be \uXXXX or \UXXXXXXXX.

select E'\uD800'
----
error 42601 at 16: invalid Unicode surrogate pair at or near "'"

select E'\uD83D\uDE00'
----
SELECT '😀'

select U&'d\0061t\+000061', U&'d!0061' uescape '!', U&"d\0061"
----
SELECT 'data', 'da', da

select U&'\00'
----
error 42601 at 11: invalid Unicode escape
hint: Unicode escapes must be \XXXX or \+XXXXXX.

select U&'d!0061' uescape '+'
----
error 42601 at 27: invalid Unicode escape character at or near "'+'"

select U&'a' uescape 5
----
error 42601 at 22: UESCAPE must be followed by a simple string literal at or near "5"

select $$abc$$, $a$ab$$c$a$, $1, $23
----
SELECT 'abc', 'ab$$c', $1, $23

select $a
----
error 42601 at 8: syntax error at or near "$"

select 1a
----
error 42601 at 8: trailing junk after numeric literal at or near "1a"

select 1.5e
----
error 42601 at 8: trailing junk after numeric literal at or near "1.5e"

select 1.5e+
----
error 42601 at 8: trailing junk after numeric literal at or near "1.5e+"

select 1e5, 1., .5, 1.5e-3, 1..2
----
error 42601 at 30: syntax error at or near ".."

select 0x1F
----
error 42601 at 8: trailing junk after numeric literal at or near "0x1F"

select 1_000
----
error 42601 at 8: trailing junk after numeric literal at or near "1_000"

select 123abc
----
error 42601 at 8: trailing junk after numeric literal at or near "123abc"

select $1a
----
error 42601 at 8: trailing junk after parameter at or near "$1a"

select 'abc
----
error 42601 at 8: unterminated quoted string at or near "'abc"

select "abc
----
error 42601 at 8: unterminated quoted identifier at or near ""abc"

select ""
----
error 42601 at 8: zero-length delimited identifier at or near """"

select /* abc
----
error 42601 at 8: unterminated /* comment at or near "/* abc"

select /* a /* b */ c */ 1 -- x
----
SELECT 1

select b'101'
----
error 0A000 at 8: bit string constants are not supported

select x'1F'
----
error 0A000 at 8: bit string constants are not supported

select n'abc'
----
SELECT pg_catalog.bpchar 'abc'

foo
----
error 42601 at 1: syntax error at or near "foo"

123
----
error 42601 at 1: syntax error at or near "123"

'abc'
----
error 42601 at 1: syntax error at or near "'abc'"

;
----

select é, 'ü' from "ñ" where ä = ö ö
----
error 42601 at 36: syntax error at or near "ö"

select a->-1, a<->b, 1*-2, 1--2
----
SELECT (a -> -1), (a <-> b), (1 * -2), 1

select a <> -b, a@-b, a +- b, a*/**/b
----
SELECT (a <> (- b)), (a @- b), (a + (- b)), (a * b)

select a{
----
error 42601 at 9: syntax error at or near "{"

select \
----
error 42601 at 8: syntax error at or near "\"

select a\b
----
error 42601 at 9: syntax error at or near "\"

select @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@ 1
----
error 42601 at 8: operator too long at or near "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@"

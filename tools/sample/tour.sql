.mode box
.echo on
.tables
SELECT origin, count(*) AS flights, round(avg(departure_delay), 1) AS mean_delay, max(departure_delay) AS worst
FROM flights GROUP BY origin ORDER BY origin;

SELECT a.name AS airport, count(*) AS flights, min(f.air_time) AS fastest
FROM flights f JOIN airports a ON a.faa = f.dest
GROUP BY a.name ORDER BY flights DESC, airport LIMIT 5;

BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE flights SET departure_delay = 0 WHERE id = 1;
SELECT id, departure_delay FROM flights WHERE id = 1;
ROLLBACK;
SELECT id, departure_delay FROM flights WHERE id = 1;

EXPLAIN SELECT * FROM flights WHERE origin = 'JFK' AND dest = 'LAX';

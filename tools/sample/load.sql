.read schema.sql
.import --csv --skip 1 airlines.csv airlines
.import --csv --skip 1 airports.csv airports
.import --csv --skip 1 planes.csv planes
.import --csv --skip 1 flights.csv flights
CREATE INDEX flights_by_origin_dest ON flights (origin, dest);
CREATE INDEX flights_by_tailnum ON flights (tailnum);

CREATE TABLE airlines (
  carrier text PRIMARY KEY,
  name    text NOT NULL
);

CREATE TABLE airports (
  faa       text PRIMARY KEY,
  name      text NOT NULL,
  latitude  double precision NOT NULL,
  longitude double precision NOT NULL,
  altitude  integer,               -- feet
  zone      text
);

CREATE TABLE planes (
  tailnum      text PRIMARY KEY,
  year         integer,
  type         text,
  manufacturer text,
  model        text,
  engines      integer,
  seats        integer CHECK (seats > 0),
  engine       text
);

CREATE TABLE flights (
  id                  integer PRIMARY KEY,
  day                 date NOT NULL,
  carrier             text NOT NULL,
  flight              integer NOT NULL,
  tailnum             text,
  origin              text NOT NULL,
  dest                text NOT NULL,
  scheduled_departure timestamp NOT NULL,
  departure           text,
  departure_delay     integer,     -- minutes
  scheduled_arrival   text,
  arrival             text,
  arrival_delay       integer,     -- minutes
  air_time            integer,     -- minutes
  distance            integer NOT NULL  -- miles
);

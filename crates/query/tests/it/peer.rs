//! Beside InfluxDB.

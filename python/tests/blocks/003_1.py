from lsm_engine import LSMEngine

# Create database instance
db = LSMEngine(db_folder="my_db", capacity=100)

# Write data
db.set("user:1", "alice")
db.set("user:2", "bob")
db.set("config:timeout", "30")

# Read data
value = db.get("user:1")  # Returns: "alice"

# Manual flush
db.flush()

# Close WAL
db.wal.close()

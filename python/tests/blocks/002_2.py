from storage_engine import StorageEngine

# Create storage engine
engine = StorageEngine(data_dir='./data', memtable_size=1000)

# Put operation
engine.put('key1', 'value1')

# Get operation
value = engine.get('key1')

# Batch put
keys = ['key2', 'key3', 'key4']
values = ['value2', 'value3', 'value4']
engine.batch_put(keys, values)

# Range query
results = engine.get_range('key1', 'key3')

# Delete operation
engine.delete('key1')

# Close engine (flushes remaining data)
engine.close()
